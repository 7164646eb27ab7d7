"""What becomes of a label map: the files that the user asked for."""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import CannotStartError
from .files import changed_at, printable, write_whole
from .gallery import GALLERY, gallery_piece
from .inputs import Job
from .model import Probabilities
from .pictures import Pixels, encode_picture

PNG_LEVEL = 1
"""zlib's level: 9 makes the label maps a little smaller and takes many times as long."""

OWN, CELEBAMASK, FACE_PARSING = "own", "celebamask", "face-parsing.pytorch"
OLD_NAMES = {"zllrunning": FACE_PARSING}
"""Orders by the names that --labels had for them before."""

FACE_PARSING_NAMES = (
    *("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose"),
    *("mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat"),
)
"""Names by id in https://github.com/zllrunning/face-parsing.PyTorch, whose order many tools expect."""


class Writer:
    """Turns a label map into the files that the user asked for. Raises CannotStartError for unknown parts."""

    def __init__(self, metadata: dict[str, Any], options: argparse.Namespace) -> None:
        self.folder: Path = options.output
        self.names: list[str] = metadata["labels"]
        self.palette: list[int] = metadata["palette"]
        self.overlay: bool = options.overlay
        self.color: bool = options.color
        self.probabilities: bool = options.probabilities
        self.gallery: bool = options.gallery
        self.parts: list[str] = [part for part in options.parts.split(",") if part]
        for part in self.parts:
            if part not in self.names:
                raise CannotStartError(f"--parts {part}: one of {', '.join(self.names)}")
        order = FACE_PARSING_NAMES if options.labels == FACE_PARSING else self.names
        if options.labels != OWN and sorted(self.names) != sorted(FACE_PARSING_NAMES):
            raise CannotStartError(f"--labels {options.labels}: this model has other labels")
        self.renumbered = np.array([order.index(name) for name in self.names], np.uint8)
        colors = np.array(self.palette).reshape(-1, 3)
        self.out_palette = [int(value) for name in order for value in colors[self.names.index(name)]]

    def outputs(self, job: Job) -> list[str]:
        """The files of a picture, the label map last: where it stands, the picture is done."""
        kinds = [("overlay", ".jpg")] * self.overlay + [("color", ".png")] * self.color
        kinds += [(f"parts/{part}", ".png") for part in self.parts]
        kinds += [("probabilities", ".npz")] * self.probabilities + [(GALLERY, ".txt")] * self.gallery
        return [*(f"{kind}/{job.name}{suffix}" for kind, suffix in kinds), f"{job.name}.png"]

    def targets(self, job: Job) -> list[Path]:
        """``outputs``, in the output folder."""
        return [self.folder / name for name in self.outputs(job)]

    def write(self, job: Job, picture: Pixels, labels: Pixels, probabilities: Probabilities | None) -> None:
        """Raises OSError."""
        contents = self.contents(job, picture, labels, probabilities)
        for path, content in zip(self.targets(job), contents, strict=True):
            write_whole(path, content)

    def contents(
        self, job: Job, picture: Pixels, labels: Pixels, probabilities: Probabilities | None
    ) -> Iterator[bytes]:
        """In the order of ``outputs``."""
        ids = _with_palette(labels, self.palette)
        if self.overlay:
            yield encode_picture(blend(picture, ids), format="JPEG", quality=90)
        if self.color:
            yield encode_picture(ids.convert("RGB"), format="PNG", compress_level=PNG_LEVEL)
        for part in self.parts:
            mask = (labels == self.names.index(part)) * np.uint8(255)
            yield encode_picture(Image.fromarray(mask), format="PNG", compress_level=PNG_LEVEL)
        if probabilities is not None:
            stream = io.BytesIO()
            in_order = np.argsort(self.renumbered)  # channel i is the map's id i
            np.savez_compressed(stream, probabilities=probabilities[in_order])
            yield stream.getvalue()
        if self.gallery:
            yield gallery_piece(printable(Path(job.name)), picture, labels, len(self.names))
        renumbered = _with_palette(self.renumbered[labels], self.out_palette)
        yield encode_picture(renumbered, format="PNG", compress_level=PNG_LEVEL)


def _with_palette(labels: Pixels, palette: list[int]) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(palette)
    return image


def blend(picture: Pixels, ids: Image.Image) -> Image.Image:
    """The picture with half of each class's colour over it; the background stays as it was."""
    strength = ids.point([0] + [128] * 255, "L")
    return Image.composite(ids.convert("RGB"), Image.fromarray(picture), strength)


def already_done(writer: Writer, job: Job, since: float) -> bool:
    """Whether all outputs stand and are newer than the picture and the settings."""
    try:
        changed = max(since, changed_at(job.source))
        return all(path.is_file() and path.stat().st_mtime >= changed for path in writer.targets(job))
    except OSError:
        return False
