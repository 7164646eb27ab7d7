"""Whole photographs from Python: the program inside an exported file finds the faces in them.

The search is part of the file, so that a photo has the same labels here and by ``python lisa.ts``.
"""

import importlib.util
import sys
import types
import zipimport
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lisa.errors import InputError

Mode = Literal["frame", "find", "auto"]
"""frame: a face fills the picture, as in training; find: a photograph; auto: whichever it is."""


@dataclass(frozen=True)
class Face:
    """A face in a photo, in the photo's pixels."""

    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the inner face."""
    angle: float
    """Degrees, clockwise as seen; 0 is upright."""
    points: tuple[tuple[float, float], ...]
    """As seen: left eye, right eye, nose, left and right corner of the mouth."""
    confidence: float
    """0 to 1."""


class Photographs:
    """The program and the networks of one exported file. Raises InputError if it can find no faces."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path = path
        program = _program(path)
        try:
            self._photos, model, finding = (program(name) for name in ("photos", "model", "finding"))
        except ImportError:
            raise InputError(
                f"{path}: was exported before models could find faces: export it again"
            ) from None
        metadata: dict[str, Any] = model.read_metadata(path)
        reason = finding.reason_against(metadata)
        if reason:
            raise InputError(f"{path}: finds no faces: {reason}")
        self._labels: list[str] = metadata["labels"]
        self._inner: list[int] = program("outputs").inner_ids(metadata)
        self._job = program("inputs").Job(Path(), "")
        self._model = model.ExportedModel(path, device, "fp32")
        self._finder = finding.open_finder(self._model, path)

    def __call__(self, pixels: NDArray[np.uint8], mode: Mode) -> tuple[NDArray[np.uint8], list[Face]] | None:
        """(H,W,3) to ids (H,W) and the faces; None for a picture that ``auto`` takes as one frame."""
        photos = self._photos.Photos(self._model, self._finder, mode)
        found = photos.faces(self._job, pixels)
        if found is None:
            return None
        parsed = photos.parse(pixels, found)
        rows = self._photos.rows_of(parsed, self._labels, self._inner)
        faces = [
            Face(tuple(row["box"]), row["angle"], tuple(map(tuple, row["points"])), row["confidence"])
            for row in rows
        ]
        return parsed.labels, faces


def _program(path: Path) -> Callable[[str], Any]:
    """Imports modules of the program in an exported file, each file's under names of its own."""
    stat = path.stat()
    owner = f"_lisa_{abs(hash((str(path.resolve()), stat.st_mtime_ns, stat.st_size))):x}"
    name = f"{owner}.predictor"
    if name not in sys.modules:
        spec = zipimport.zipimporter(str(path)).find_spec(name)
        if spec is None or spec.loader is None:
            raise InputError(f"{path}: was exported before it held the program: export it again")
        sys.modules[owner] = types.ModuleType(owner)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return lambda module: importlib.import_module(f"{name}.{module}")
