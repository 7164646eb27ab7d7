"""A picture as a whole photograph: which faces it has, and their labels in the photo."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import BadPictureError
from .faces.arrangement import Arrangement
from .faces.finder import Face, Finder, Given, Whole, stretched
from .faces.frames import cut_fine
from .faces.given import Numbers, given
from .faces.put_back import Labelled
from .faces.settle import settle
from .inputs import Job
from .model import SANE, ExportedModel, Probabilities, largest_logits
from .pictures import Pixels

AUTO, FRAME, FIND = "auto", "frame", "find"

SQUARE = 1.1
"""An aligned picture's longer side is at most so many times its shorter one."""

COVERED = 0.55
"""Skin, eyes, nose and lips cover at least so much of an aligned picture's inner face."""

FILLED = 0.8
"""And so much where no search for a face elsewhere is needed: it takes seconds."""

DOUBTFUL = 0.15
"""And so much where nothing else speaks for another place of the face: a hand or a bandage may hide it."""

FLAT = 6
"""Levels between the darkest and the lightest pixel, of 255; a picture of fewer shows no face."""

SURE = 0.75
"""Confidence of a face that certainly is one. In benchmarks.photos the weights in the box gave pasted faces
.84 and more; what they made up in aligned pictures of half hidden faces had .71 at most."""


@dataclass(frozen=True)
class Parsed:
    """What became of a picture."""

    labels: Pixels
    """(H,W) ids."""
    probabilities: Probabilities | None = None
    """(C,size,size) of the whole picture; of a photo (N,C,size,size), one for each face."""
    faces: list[Face] | None = None
    """The photo's faces; None for a picture that was parsed as one frame."""
    owner: NDArray[np.uint16] | None = None
    """(H,W) number of the face that a photo's pixel belongs to, from 1 on; 0 for none."""
    largest: float = 0.0
    """|logit| of a photo's faces."""
    apart: list[tuple[int, int, Pixels]] | None = None
    """Top, left and ids of each of a photo's faces alone, if asked for: where they overlap, each keeps its
    labels."""


@dataclass(frozen=True)
class Photos:
    """How pictures are taken: ``mode`` is auto, find, or the file that lists faces.

    ``listed`` has its faces, by the pictures' sources.
    """

    model: ExportedModel
    finder: Finder | None
    mode: str
    listed: Mapping[str, list[Numbers]] | None = None
    apart: bool = False
    """Whether each face's own map is wanted too."""

    def faces(self, job: Job, picture: Pixels) -> list[Face] | None:
        """The faces of a photo; None for a picture that is to be parsed as one frame.

        Raises BadPictureError for a picture that the list does not name.
        """
        if self.listed is not None:
            return self._listed(self.listed, job, picture)
        assert self.finder is not None
        if self.mode == FIND:
            return self.find(picture)
        if is_flat(picture):
            return []
        whole = self.finder.whole(picture) if is_square(picture) else None
        if whole is not None and (is_aligned(whole) or self._stays(whole, picture)):
            return None
        faces = self.find(picture)
        if whole is None:
            return faces
        fills = fills_the_frame(whole, faces, picture) or (not faces and self._sees_one(picture))
        return None if fills else faces

    def _stays(self, whole: Whole, picture: Pixels) -> bool:
        """Whether a square picture needs no search: its face stays in the middle, or skin fills that."""
        if whole.cover <= COVERED:
            return False
        assert self.finder is not None
        height, width = picture.shape[:2]
        frame = torch.tensor([[width / 2, height / 2, math.sqrt(height * width), 0.0]])
        pulled = self.finder.locate(picture, [Given(frame, surely=False)])
        certain = pulled[0].confidence >= SURE or whole.cover > FILLED
        return certain and fills_the_frame(whole, pulled, picture)

    def _listed(self, listed: Mapping[str, list[Numbers]], job: Job, picture: Pixels) -> list[Face]:
        found = listed.get(str(job.source))
        if found is None:
            raise BadPictureError("the file of --faces does not name it")
        places = [given(numbers) for numbers in found]
        height, width = picture.shape[:2]
        for numbers, place in zip(found, places, strict=True):
            x, y, side, _ = place.frames[0].tolist()
            if not (-side / 2 < x < width + side / 2 and -side / 2 < y < height + side / 2):
                raise BadPictureError(f"its face {list(numbers)} lies outside of its {width}x{height} pixels")
        if self.finder is not None:
            return [self._settled(picture, face) or face for face in self.finder.locate(picture, places)]
        frames = [place.frames[0].tolist() for place in places]
        return [Face((x, y, side, angle), 0.0, ()) for x, y, side, angle in frames]

    @cached_property
    def _arrangement(self) -> Arrangement | None:
        """That of the parsing network, where another one is the finder and this one may judge it."""
        content = self.model.metadata["faces"].get("parser")
        return None if content is None else Arrangement.from_metadata(content)

    def find(self, picture: Pixels) -> list[Face]:
        """The faces of a photo, the surest first, without those in which the parsing network sees none."""
        assert self.finder is not None
        return self.finder.find(picture, partial(self._settled, picture))

    def _sees_one(self, picture: Pixels) -> bool:
        """Whether the parsing network, if it may judge, sees an aligned face that the finder does not."""
        height, width = picture.shape[:2]
        whole = Face((width / 2, height / 2, math.sqrt(height * width), 0.0), 0.0, ())
        seen = self._settled(picture, whole)
        return seen is not None and bool(seen.points)  # none: it can't judge, or the face lies elsewhere

    def _settled(self, picture: Pixels, face: Face) -> Face | None:
        return face if self._arrangement is None else self.judged(face, self.face_logits(picture, face))

    def judged(self, face: Face, logits: Tensor) -> Face | None:
        """Where the parsing network sees the face, by its ``logits`` (C,size,size) there; None for no face.

        Unchanged if the network can't judge.
        """
        if self._arrangement is None:
            return face
        sane = largest_logits(logits[None])[0] <= SANE  # exploded ones judge nothing; the parse tells of them
        return settle(face, logits, self._arrangement) if sane else face

    @torch.inference_mode()
    def parse(self, picture: Pixels, faces: list[Face]) -> Parsed:
        """Labels each face at the network's size and puts it back, one after another."""
        labelled, size = Labelled(*picture.shape[:2]), int(self.model.metadata["size"])
        kept: list[Probabilities] = []
        largest = [0.0]
        apart: list[tuple[int, int, Pixels]] = []
        for face in faces:
            logits = self.face_logits(picture, face)
            largest += largest_logits(logits[None])
            labelled.add(logits, torch.tensor(face.frame))
            if self.apart:
                alone = Labelled(*picture.shape[:2])
                alone.add(logits, torch.tensor(face.frame))
                rows, columns = np.flatnonzero(alone.ids.any(1)), np.flatnonzero(alone.ids.any(0))
                top, left = (int(each[0]) if each.size else 0 for each in (rows, columns))
                bottom, right = (int(each[-1]) + 1 if each.size else 0 for each in (rows, columns))
                apart.append((top, left, alone.ids[top:bottom, left:right].copy()))
            if self.model.probabilities:
                kept.append(logits.softmax(0).half().cpu().numpy())
        classes = len(self.model.metadata["labels"])
        empty = np.zeros((0, classes, size, size), np.float16)
        probabilities = (np.stack(kept) if kept else empty) if self.model.probabilities else None
        worst = float(np.max(largest))  # nan if one is
        kept_apart = apart if self.apart else None
        return Parsed(labelled.ids, probabilities, faces, labelled.owner, worst, kept_apart)

    @torch.inference_mode()
    def face_logits(self, picture: Pixels, face: Face) -> Tensor:
        """(C,size,size) in the face's own frame."""
        frame = torch.tensor(face.frame)
        shown = stretched(cut_fine(picture, frame, int(self.model.metadata["size"])))
        return self.model.logits(shown.round().to(torch.uint8).to(self.model.device))[0]


def is_flat(picture: Pixels) -> bool:
    """Whether the picture (H,W,3) shows nothing: a covered lens, a film's first frames."""
    return int(np.ptp(picture, axis=(0, 1)).max()) < FLAT


def is_square(picture: Pixels) -> bool:
    """Whether the picture (H,W,3) may be an aligned face."""
    height, width = picture.shape[:2]
    return max(height, width) <= SQUARE * min(height, width)


def is_aligned(whole: Whole) -> bool:
    """Whether the picture is an aligned face beyond doubt: by its parts, or by some parts and its skin.

    A face a little off its place is parsed as well in the whole picture's frame as in its own.
    """
    still = whole.shift < 0.04 and whole.growth < math.log(1.12) and whole.turn < math.radians(5)
    near = whole.shift < 0.08 and whole.growth < math.log(1.2) and whole.turn < math.radians(15)
    return (still and whole.score > 0.8) or (near and whole.score > 0.4 and whole.cover > COVERED)


def fills_the_frame(whole: Whole, faces: list[Face], picture: Pixels) -> bool:
    """Whether a square picture (H,W,3), where the search found these faces, is an aligned one all the same.

    Dark glasses, hands and shadows hide parts of aligned faces too: without a sure face elsewhere, skin where
    an aligned face's would be is enough.
    """
    if not faces or faces[0].confidence < SURE:
        return whole.cover > DOUBTFUL
    side = math.sqrt(picture.shape[0] * picture.shape[1])
    centre = (picture.shape[1] / 2, picture.shape[0] / 2)
    x, y, face_side, angle = faces[0].frame
    near = math.hypot(x - centre[0], y - centre[1]) < 0.12 * side
    if near and abs(math.log(face_side / side)) < 0.32 and abs(angle) < math.radians(15):
        return True
    return face_side <= 0.3 * side and whole.cover > COVERED


def rows_of(parsed: Parsed, labels: list[str], inner: list[int]) -> list[dict[str, Any]]:
    """The faces as faces.json has them; ``inner`` are the labels from skin to lips, which the box holds."""
    if parsed.faces is None or parsed.owner is None:
        return []
    rows: list[dict[str, Any]] = []
    for number, face in enumerate(parsed.faces, start=1):
        x, y, side, angle = face.frame
        top, left, ids = _window(parsed, number, face)
        counts = np.bincount(ids[ids < 255], minlength=len(labels))
        rows.append(
            {
                "box": _box(np.isin(ids, inner), top, left) or _square(face.frame, parsed.labels),
                "angle": round(math.degrees(angle), 2),
                "frame": {"centre": [round(x, 2), round(y, 2)], "side": round(side, 2)},
                "points": [[round(a, 2), round(b, 2)] for a, b in face.points],
                "confidence": round(face.confidence, 4),
                "pixels": {name: int(count) for name, count in zip(labels, counts, strict=True) if count},
            }
        )
    return rows


def _window(parsed: Parsed, number: int, face: Face) -> tuple[int, int, Pixels]:
    """Top, left and ids of the rectangle around a frame; 255 where a pixel is not this face's."""
    x, y, side, _ = face.frame
    height, width = parsed.labels.shape
    reach = side * math.sqrt(0.5) + 1
    left, right = (min(width, max(0, round(x + each))) for each in (-reach, reach))
    top, bottom = (min(height, max(0, round(y + each))) for each in (-reach, reach))
    assert parsed.owner is not None
    window = slice(top, bottom), slice(left, right)
    return top, left, np.where(parsed.owner[window] == number, parsed.labels[window], np.uint8(255))


def _box(mask: Any, top: int, left: int) -> list[int] | None:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return [left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1]


def _square(frame: tuple[float, float, float, float], picture: Pixels) -> list[int]:
    """What of an upright frame lies in the picture."""
    x, y, side, _ = frame
    height, width = picture.shape
    left, right = (min(width, max(0, round(x + each))) for each in (-side / 2, side / 2))
    top, bottom = (min(height, max(0, round(y + each))) for each in (-side / 2, side / 2))
    return [left, top, right, bottom]


def corners(face: Face) -> Tensor:
    """(4,2): the frame's corners in the photo, clockwise from the upper left as the face stands."""
    x, y, side, angle = face.frame
    c, s = math.cos(angle) * side / 2, math.sin(angle) * side / 2
    offsets = [(-c + s, -s - c), (c + s, s - c), (c - s, s + c), (-c - s, -s + c)]
    return torch.tensor([[x + dx, y + dy] for dx, dy in offsets])
