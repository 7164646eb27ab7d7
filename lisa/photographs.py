"""Whole photographs from Python: the program inside an exported file finds the faces in them.

The search is part of the file, so that a photo has the same labels here and by ``python lisa.ts``.
"""

import importlib.util
import sys
import types
import zipimport
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lisa.errors import InputError

Mode = Literal["frame", "find", "auto"]
"""frame: a face fills the picture, as in training; find: a photograph; auto: whichever it is."""

Places = Sequence[Sequence[float] | Sequence[Sequence[float]] | NDArray[Any]]
"""Faces that another program has found in a photo. Each is a box (left, top, right, bottom), or five points,
(5,2) or flat: left eye, right eye, nose, left and right corner of the mouth, as seen."""


SHAPES = ((4,), (2, 2), (10,), (5, 2))
"""Of a box, and of five points."""


@dataclass(frozen=True)
class FoundFace:
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
    """The program and the networks of one exported file. Raises InputError if that is older than photos."""

    def __init__(self, path: Path, device: torch.device) -> None:
        self._path = path
        program = _program(path)
        try:
            self._photos, model, finding = (program(name) for name in ("photos", "model", "finding"))
        except ImportError:
            raise InputError(
                f"{path}: was exported before models could find faces: export it again"
            ) from None
        try:
            metadata: dict[str, Any] = model.read_metadata(path)
            self._reason: str = finding.reason_against(metadata)
            self._program = program
            self._labels: list[str] = metadata["labels"]
            self._inner: list[int] = program("outputs").inner_ids(metadata)
            self._job = program("inputs").Job(Path(), "")
            # A program switches TF32 off for its whole process; here lisa.loading does for each call.
            model.prepare_device = lambda device, precision: None
            self._model = model.ExportedModel(path, device, "fp32")
            self._finder = finding.open_finder(self._model, path)
        except program("errors").CannotStartError as error:
            raise InputError(str(error)) from None

    def __call__(
        self, pixels: NDArray[np.uint8], wanted: Mode | Places
    ) -> tuple[NDArray[np.uint8], list[FoundFace]] | None:
        """(H,W,3) to ids (H,W) and the faces; None for a picture that ``auto`` takes as one frame.

        Raises InputError for places that can't be, and if the file can't find what is wanted.
        """
        listed = None if isinstance(wanted, str) else self._listed(wanted)
        finds = listed is None or any(len(numbers) == 4 for numbers in listed)
        if finds and self._reason:
            raise InputError(f"{self._path}: finds no faces: {self._reason}")
        by_name = () if listed is None else ({str(self._job.source): listed},)
        photos = self._photos.Photos(self._model, self._finder, wanted, *by_name)
        try:
            found = photos.faces(self._job, pixels)
        except self._program("errors").BadPictureError as error:
            raise InputError(str(error)) from None
        if found is None:
            return None
        parsed = photos.parse(pixels, found)
        rows = self._photos.rows_of(parsed, self._labels, self._inner)
        faces = [
            FoundFace(tuple(row["box"]), row["angle"], tuple(map(tuple, row["points"])), row["confidence"])
            for row in rows
        ]
        return parsed.labels, faces

    def _listed(self, places: Places) -> list[tuple[float, ...]]:
        try:
            numbers_of = self._program("faces.given").numbers_of
        except (ImportError, AttributeError):
            raise InputError(f"{self._path}: was exported before it took faces: export it again") from None
        try:
            arrays = [np.asarray(place, np.float64) for place in places]
            for array in arrays:
                if array.shape not in SHAPES:
                    raise InputError(f"faces: one of shape {array.shape}: a box is (4,), five points (5,2)")
            return [numbers_of(array.ravel().tolist()) for array in arrays]
        except (ValueError, TypeError) as error:
            raise InputError(f"faces: {error}") from None


def _program(path: Path) -> Callable[[str], Any]:
    """Imports modules of the program in an exported file, each file's under names of its own."""
    stat = path.stat()
    owner = f"_lisa_{abs(hash((str(path.resolve()), stat.st_mtime_ns, stat.st_size))):x}"
    name = f"{owner}.predictor"
    if name not in sys.modules:
        importer = zipimport.zipimporter(str(path))
        importer.invalidate_caches()  # by its path alone it may be known as the file that was there before
        importlib.invalidate_caches()
        spec = importer.find_spec(name)
        if spec is None or spec.loader is None:
            raise InputError(f"{path}: was exported before it held the program: export it again")
        sys.modules[owner] = types.ModuleType(owner)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return lambda module: importlib.import_module(f"{name}.{module}")
