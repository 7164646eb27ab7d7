"""Faces under hard textures: does a label map collapse, with and without the exported file's bounds?

    python -m benchmarks.prediction.stress --checkpoint runs/x/best.pt --data faces --count 1000

Lace, letters, checks, dots, lines and foliage of many scales lie over background, clothes, or all around the
face of validation pictures. A picture has collapsed if its mIoU is below 20 or a logit is above 100; on
ordinary photographs the largest lie near 40. A weak network has pictures below 20 without a texture: they are
told beside. Seeded: the same set every time.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deploy.bounds import measure_bounds
from deploy.gate import training_pictures
from deploy.rewrite import for_inference
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair, decode
from lisa.data.repair import repair_sides
from lisa.errors import InputError, one_line_errors
from lisa.evaluation.evaluate import SANE_LOGIT
from lisa.evaluation.metrics import Tally, figures, picture_mious
from lisa.face_parser import FaceParser, argmax_at
from lisa.labels import LabelSet
from lisa.run.checkpoint import load_network

COLLAPSED_MIOU = 0.20

Grey = NDArray[np.float32]
Texture = Callable[[np.random.Generator, int, float], Grey]
"""A generator, the picture's side and the texture's period in pixels, to (side,side) from 0 to 1."""


@dataclass(frozen=True)
class Settings:
    """Parses textured validation faces."""

    checkpoint: Path
    """best.pt of a training run."""
    data: Path
    """Folder of faces; its training pictures give the bounds."""
    count: int = 1000
    """Textured pictures."""
    seed: int = 0
    """Of the textures."""
    repair: str = ""
    """List of lisa.data.doctor --repair-to: against reversed labels a right map may look collapsed."""


def grid(side: int) -> tuple[Grey, Grey]:
    """Rows and columns, (side,side) each."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    return rows, columns


def turned(generator: np.random.Generator, side: int, period: float) -> tuple[Grey, Grey]:
    """Coordinates in periods, turned by a random angle."""
    rows, columns = grid(side)
    angle = generator.uniform(0, np.pi)
    return (
        (rows * np.cos(angle) + columns * np.sin(angle)) / period,
        (columns * np.cos(angle) - rows * np.sin(angle)) / period,
    )


def checks(generator: np.random.Generator, side: int, period: float) -> Grey:
    """A chessboard."""
    u, v = turned(generator, side, period)
    return ((np.floor(2 * u) + np.floor(2 * v)) % 2).astype(np.float32)


def lines(generator: np.random.Generator, side: int, period: float) -> Grey:
    """Stripes."""
    u, _ = turned(generator, side, period)
    return (u % 1 < generator.uniform(0.2, 0.8)).astype(np.float32)


def dots(generator: np.random.Generator, side: int, period: float) -> Grey:
    """A screen of dots."""
    u, v = turned(generator, side, period)
    return ((u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < generator.uniform(0.02, 0.2)).astype(np.float32)


def lace(generator: np.random.Generator, side: int, period: float) -> Grey:
    """Rings within rings on a net."""
    u, v = turned(generator, side, 4 * period)
    radius = np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    petals = np.cos(generator.integers(4, 12) * np.arctan2(v % 1 - 0.5, u % 1 - 0.5))
    return (np.sin(2 * np.pi * (4 * radius + 0.3 * petals)) > 0).astype(np.float32)


def foliage(generator: np.random.Generator, side: int, period: float) -> Grey:
    """Noise of all scales down to the period, at full contrast."""
    total = np.zeros((side, side), np.float32)
    cell = period
    while cell < side:
        cells = int(side / cell) + 2
        noise = Image.fromarray(generator.standard_normal((cells, cells)).astype(np.float32))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC)) * cell**0.3
        cell *= 2
    return (total > 0).astype(np.float32)


def letters(generator: np.random.Generator, side: int, period: float) -> Grey:
    """Lines of random letters."""
    page = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(page)
    height = max(6.0, 1.5 * period)
    alphabet = list("ABCDEFGHKLMNRSTUVWXYZabdefghkmnpqrstuvwxyz0123456789")
    for top in np.arange(-height, side, height):
        text = "".join(generator.choice(alphabet, 2 * int(side / height) + 2))
        draw.text((generator.uniform(-height, 0), top), text, fill=255, font_size=height)
    return np.asarray(page, np.float32) / np.float32(255)


TEXTURES: dict[str, Texture] = {
    "checks": checks, "lines": lines, "dots": dots, "lace": lace, "foliage": foliage, "letters": letters,
}  # fmt: skip

REGIONS: dict[str, tuple[str, ...]] = {
    "background": ("background",),
    "clothes": ("clothing", "neck", "necklace"),
    "earrings": ("left_ear", "right_ear", "earrings"),
    "around the face": (
        *("background", "clothing", "neck", "necklace", "hat", "hair", "earrings", "left_ear", "right_ear"),
    ),
}
"""Where a texture lies: labels by role."""


def textured(
    generator: np.random.Generator, picture: NDArray[np.uint8], mask: NDArray[np.uint8], labels: LabelSet
) -> tuple[str, NDArray[np.uint8]]:
    """The texture's name and the picture (S,S,3) under it."""
    name = str(generator.choice(list(TEXTURES)))
    roles = REGIONS[str(generator.choice(list(REGIONS)))]
    region = np.isin(mask, [labels.by_role[role] for role in roles if role in labels.by_role])
    side = len(picture)
    pattern = TEXTURES[name](generator, side, side / generator.uniform(16, 256))[..., None]
    dark, light = np.sort(generator.uniform(0, 255, (2, 3)), axis=0)
    if generator.random() < 0.5:
        dark, light = np.zeros(3), np.full(3, 255.0)
    drawn = dark + (light - dark) * pattern
    strength = generator.uniform(0.6, 1) * region[..., None]
    return name, (picture + strength * (drawn - picture)).round().astype(np.uint8)


def val_pairs(settings: Settings) -> list[Pair]:
    """The validation faces, reversed ones repaired. Raises InputError."""
    pairs = find_pairs(settings.data, "val")
    return repair_sides(pairs, settings.repair, str(settings.data)) if settings.repair else pairs


def run(settings: Settings) -> Table:
    """Parses all pictures by the trained network and by the exported one."""
    trained = load_network(settings.checkpoint)
    size, labels = trained.config.data.size, trained.config.labels
    plain = trained.parser()
    ordinary, _ = training_pictures(settings.data)
    if not ordinary:
        raise InputError(f"--data {settings.data}: no training pictures to measure bounds on")
    bounds = measure_bounds(plain, ordinary).bounds
    parsers = {
        "as trained": plain,
        "within bounds": FaceParser.for_prediction(for_inference(trained.network, bounds), size),
    }
    pairs = val_pairs(settings)
    columns = (
        "network",
        "val mIoU",
        "val below 20",
        "textured mIoU",
        "collapsed",
        "by texture",
        "|logit| > 100",
    )
    table = Table(*columns, "largest |logit|")
    rows: dict[str, list[str]] = {}
    for name, parser in parsers.items():
        clean, hard = Tally(len(pairs), labels), Tally(settings.count, labels)
        largest, kinds = torch.zeros(settings.count), list[str]()
        with torch.inference_mode():
            for index in track(range(len(pairs)), f"{name}, val", transient=True):
                image, mask = decode(pairs[index])
                clean.add(index, parser(as_tensor(np.asarray(image)))[0], torch.from_numpy(np.array(mask)))
            for index in track(range(settings.count), name, transient=True):
                image, mask = decode(pairs[index % len(pairs)])
                generator = np.random.default_rng((settings.seed, index))
                picture = np.asarray(image.resize(mask.size))
                truth = np.array(mask)
                kind, changed = textured(generator, picture, truth, labels)
                logits = parser.logits(as_tensor(changed))
                largest[index] = logits.abs().max()
                hard.add(index, argmax_at(logits, *truth.shape)[0], torch.from_numpy(truth))
                kinds.append(kind)
        collapsed = picture_mious(hard) < COLLAPSED_MIOU
        told = Counter(kind for kind, fails in zip(kinds, collapsed.tolist(), strict=True) if fails)
        rows[name] = [
            f"{100 * figures(clean)['miou']:.2f}",
            f"{int((picture_mious(clean) < COLLAPSED_MIOU).sum())} of {len(pairs)}",
            f"{100 * figures(hard)['miou']:.2f}",
            f"{int(collapsed.sum())} of {settings.count}",
            ", ".join(f"{kind} {count}" for kind, count in told.most_common()) or "-",
            f"{int((~(largest <= SANE_LOGIT)).sum())}",
            f"{largest.max():.3g}",
        ]
    for name, row in rows.items():
        table.add_row(name, *row)
    return table


def as_tensor(picture: NDArray[np.uint8]) -> torch.Tensor:
    """(H,W,3) to (1,3,H,W) uint8."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.prediction.stress")
    with one_line_errors():
        Console().print(run(settings))


if __name__ == "__main__":
    main()
