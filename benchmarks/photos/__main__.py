"""Faces found in scenes, and mIoU of the whole photo: as one frame, as found, and in the true frames.

    python -m benchmarks.photos --model lisa.ts --data faces [--scenes 30] [--stress] [--sheet sheet.jpg]

``faces/val`` holds aligned faces with masks in the model's own label set: the first half of them are pasted,
the second half gives pieces of backgrounds. A face counts as found if a frame's centre lies within .15 of its
side and the sides differ by less than 30 %.
"""

import math
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.photos.scenes import GROUPS, STRESS, Group, Scene, build, patches_of
from deploy.predictor.faces.finder import Face
from deploy.predictor.finding import open_finder, reason_against
from deploy.predictor.inputs import Job
from deploy.predictor.machine import keep_freed_memory
from deploy.predictor.model import ExportedModel
from deploy.predictor.photos import Photos, corners
from lisa.data.folders import find_pairs
from lisa.errors import InputError, one_line_errors
from lisa.evaluation.metrics import iou_of
from lisa.labels import LabelSet
from lisa.labels.encoding import read_encoding

INNER = frozenset({
    *("nose", "left_eye", "right_eye", "left_brow", "right_brow", "mouth", "upper_lip", "lower_lip"),
    "glasses",
})  # fmt: skip
"""Roles of what a patch that covers faces does not show."""


@dataclass(frozen=True)
class Settings:
    """Measures an exported file that finds faces."""

    model: Path
    """File made by deploy.export, with a finder."""
    data: Path
    """Folder whose split val holds aligned faces and masks."""
    scenes: int = 30
    """Scenes of each group."""
    seed: int = 0
    """Another one gives other scenes."""
    stress: tyro.conf.FlagCreatePairsOff[bool] = False
    """Faces that are covered, dark, small or turned far, in place of ordinary ones."""
    sheet: Path | None = None
    """Picture to write: the first two scenes of each group, with the found frames."""


@dataclass
class Score:
    """A group's figures so far."""

    faces: int = 0
    found: int = 0
    false: int = 0
    centres: list[float] = field(default_factory=list)
    angles: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    counts: dict[str, torch.Tensor] = field(default_factory=dict)

    def match(self, truth: tuple[tuple[float, float, float, float], ...], found: list[Face]) -> None:
        """Pairs found frames with true ones, each once."""
        left = list(found)
        self.faces += len(truth)
        for x, y, side, turn in truth:
            near = [face for face in left if _is(face, x, y, side)]
            if not near:
                continue
            face = min(near, key=lambda each: math.hypot(each.frame[0] - x, each.frame[1] - y))
            left.remove(face)
            self.found += 1
            self.centres.append(math.hypot(face.frame[0] - x, face.frame[1] - y) / side)
            self.angles.append(abs((math.degrees(face.frame[3]) - turn + 180) % 360 - 180))
        self.false += len(left)

    def add(self, way: str, labels: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int) -> None:
        """Counts a scene's pixels."""
        counted = truth < classes
        joint = np.bincount(truth[counted].astype(int) * classes + labels[counted], minlength=classes**2)
        confusion = torch.from_numpy(joint.reshape(classes, classes))
        before = self.counts.get(way, torch.zeros_like(confusion))
        self.counts[way] = before + confusion

    def miou(self, way: str) -> float:
        """Per cent, over the classes that occur."""
        confusion = self.counts[way]
        counts = torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)])
        return 100 * float(iou_of(counts).nanmean())


def _is(face: Face, x: float, y: float, side: float) -> bool:
    near = math.hypot(face.frame[0] - x, face.frame[1] - y) < 0.15 * side
    return near and abs(math.log(face.frame[2] / side)) < math.log(1.3)


def measure(photos: Photos, scene: Scene, score: Score) -> list[Face]:
    """Parses a scene in the three ways; the faces that were found."""
    start = time.perf_counter()
    faces = photos.faces(Job(Path(), ""), scene.photo) or []
    labels = photos.parse(scene.photo, faces).labels
    score.seconds.append(time.perf_counter() - start)
    score.match(scene.faces, faces)
    if scene.faces:
        classes = len(photos.model.metadata["labels"])
        true = [Face((x, y, side, math.radians(turn)), 1.0, ()) for x, y, side, turn in scene.faces]
        score.add("found", labels, scene.mask, classes)
        score.add("frame", photos.model(scene.photo[None]).labels[0], scene.mask, classes)
        score.add("true", photos.parse(scene.photo, true).labels, scene.mask, classes)
    return faces


def _drawn(scene: Scene, faces: list[Face]) -> Image.Image:
    picture = Image.fromarray(scene.photo)
    draw = ImageDraw.Draw(picture)
    for face in faces:
        points = [(float(x), float(y)) for x, y in corners(face).tolist()]
        draw.line([*points, points[0]], fill=(255, 255, 0), width=max(2, picture.height // 150))
    picture.thumbnail((300, 300))
    return picture


def _row(group: Group, score: Score, scenes: int) -> list[str]:
    def mean(values: list[float], scale: float = 1.0) -> str:
        return f"{scale * statistics.fmean(values):.2f}" if values else "-"

    ways = [f"{score.miou(way):.1f}" if way in score.counts else "-" for way in ("frame", "found", "true")]
    recall = f"{score.found / score.faces:.3f}" if score.faces else "-"
    false = f"{score.false / scenes:.3f}"
    seconds = f"{statistics.median(score.seconds):.2f}"
    return [group.name, recall, false, mean(score.centres, 100), mean(score.angles), *ways, seconds]


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings)
    keep_freed_memory()
    with one_line_errors():
        model = ExportedModel(settings.model, torch.device("cpu"), "fp32")
        if reason := reason_against(model.metadata):
            raise InputError(f"--model {settings.model}: finds no faces: {reason}")
        photos = Photos(model, open_finder(model, settings.model), "find")
        labels = LabelSet.from_dict(model.metadata["label_set"], str(settings.model))
        pairs = find_pairs(str(settings.data), "val", read_encoding("", labels), "", 0.0)
        inner = [i for i, label in enumerate(labels.labels) if label.roles and {*label.roles} <= INNER]
        half = (len(pairs) + 1) // 2
        patches = patches_of(pairs[half:], inner, settings.seed)
        columns = ("share, turn", "recall", "false a photo", "centre %", "angle", "mIoU: frame", "found")
        table = Table(*columns, "true frame", "s a photo", title=f"{settings.scenes} scenes a group")
        shown: list[Image.Image] = []
        console = Console()
        for group in STRESS if settings.stress else GROUPS:
            score = Score()
            for number in track(range(settings.scenes), group.name, console=console, transient=True):
                scene = build(group, number, settings.seed, pairs[:half], patches)
                faces = measure(photos, scene, score)
                if number < 2:
                    shown.append(_drawn(scene, faces))
            table.add_row(*_row(group, score, settings.scenes))
        console.print(table)
        if settings.sheet is not None:
            sheet = Image.new("RGB", (6 * 304, -(-len(shown) // 6) * 304), "white")
            for index, picture in enumerate(shown):
                sheet.paste(picture, (index % 6 * 304, index // 6 * 304))
            sheet.save(settings.sheet)


if __name__ == "__main__":
    main()
