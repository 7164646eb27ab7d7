"""All faces of a photo: searched, aligned, and accepted or not."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..pictures import Pixels
from .align import ROUNDS, Aligned, accepted, align, look
from .arrangement import Arrangement
from .frames import as_tensor, cut, halved, reduced
from .points import five_points
from .search import Network, is_long, propose
from .suppress import kept

WORKING = 6
"""The search sees the photo with a shorter side of at least so many of the network's, if it has them."""

MOST = 16
"""Faces of a photo at most; twice as many frames are aligned."""

FOLLOWING = 2
"""A video's faces move at most so many rounds a frame."""

DARK = 110
"""A photo whose brightest hundredth is darker than this, of 255, is stretched before it is searched."""

STEEP = math.radians(40)
"""A face that seems turned further is tried at the other quarter turns too: its parts may fit better."""

SIDEWAYS = (0, 1, 3)
"""Quarter turns that are searched in this order, until one of them shows a face; panoramas stand upright."""


@dataclass(frozen=True)
class Face:
    """An aligned face in a photo, in the photo's pixels."""

    frame: tuple[float, float, float, float]
    """The frame that the network sees: centre x, centre y, side, and angle in radians, clockwise as seen."""
    confidence: float
    """0 to 1: how much of a face there is, and how near its parts lie to their places."""
    points: tuple[tuple[float, float], ...]
    """As seen: left eye, right eye, nose, left and right corner of the mouth. Empty if nobody looked."""


Judge = Callable[[Face], Face | None]
"""What somebody else makes of a face: another frame, or that it is none."""


class Given(NamedTuple):
    """Where somebody else says that a face is: frames (N,4), the first of which that holds a face counts."""

    frames: Tensor
    surely: bool
    """The frames come from points: they hold even if the alignment finds no face there."""


class Whole(NamedTuple):
    """A picture as one frame, and how the frame that was found in it lies."""

    score: float
    shift: float
    """Of the centre, sides."""
    growth: float
    """Of the side, its logarithm."""
    turn: float
    """Radians."""
    cover: float
    """Share of the inner face that skin, eyes, nose and the like cover."""


@dataclass(frozen=True)
class Working:
    """A photo as the search sees it: at most some 1,000 pixels on its shorter side."""

    factor: int
    """The photo's pixels per pixel here."""
    levels: list[Tensor]

    @staticmethod
    def of(photo: Pixels, side: int) -> "Working":
        """Of a photo (H,W,3), whose shorter side needs no more than ``side`` pixels."""
        factor = max(1, min(photo.shape[:2]) // side)
        return Working(factor, halved(stretched(as_tensor(reduced(photo, factor)))))

    @property
    def longest(self) -> int:
        """The longer side, pixels."""
        return max(self.levels[0].shape[2:])


class Finder:
    """A small network that finds faces, with what it knows of an aligned one.

    ``network`` sees aligned faces at ``size`` pixels, and those that it searches for at ``window``.
    """

    def __init__(self, network: Network, arrangement: Arrangement, size: int, window: int) -> None:
        self.network, self.arrangement, self.size, self.window = network, arrangement, size, window

    @torch.inference_mode()
    def find(self, photo: Pixels, judge: Judge = lambda face: face) -> list[Face]:
        """What ``judge`` leaves of the faces of a photo (H,W,3), the surest first."""
        work = Working.of(photo, WORKING * self.size)
        for turn in SIDEWAYS[:1] if is_long(work.levels[0]) else SIDEWAYS:
            turned = torch.rot90(work.levels[0], turn, (2, 3))
            frames, scores = propose(turned, self.network, self.arrangement, self.window)
            frames = unturned(frames, turn, turned.shape[2:])
            frames = frames[kept(frames, scores, 0.25, 1.5, 2 * MOST)]
            found = self._align(work, frames)
            found = self._turned_right(work, found.take(accepted(found, work.factor)))
            found = found.take(kept(found.frames, found.score, 0.4, most=MOST))
            faces = map(judge, self._faces(work, found.frames, found.score.tolist()))
            if certain := [face for face in faces if face is not None]:
                return certain
        return []

    @torch.inference_mode()
    def locate(self, photo: Pixels, given: Iterable[Given]) -> list[Face]:
        """Pulls frames that somebody else has found in a photo (H,W,3) into place; each of them is a face."""
        work = Working.of(photo, WORKING * self.size)
        frames: list[Tensor] = []
        scores: list[float] = []
        for each in given:
            start = each.frames / torch.tensor([*[work.factor] * 3, 1.0])
            found = self._align(work, start)
            best = int(found.score.argmax())
            shift = (found.frames[best, :2] - start[best, :2]).norm() / start[best, 2]
            growth = (found.frames[best, 2] / start[best, 2]).log().abs()
            holds = found.score[best] > (0.5 if each.surely else 0.4) and shift < 0.5 and growth < math.log(2)
            frames.append(found.frames[best] if holds else start[0])
            scores.append(float(found.score[best]) if holds else 0.0)
        return self._faces(work, torch.stack(frames), scores) if frames else []

    @torch.inference_mode()
    def follow(self, photo: Pixels, faces: Sequence[Face]) -> list[Face | None]:
        """Where faces of the frame before are in this frame (H,W,3) of a video; None for those missed."""
        if not faces:
            return []
        work = Working.of(photo, WORKING * self.size)
        frames = torch.tensor([face.frame for face in faces]) / torch.tensor([*[work.factor] * 3, 1.0])
        found = self._align(work, frames, FOLLOWING)
        alone = torch.zeros(len(frames), dtype=torch.bool)
        alone[kept(found.frames, found.score, 0.4)] = True  # of two that went to one face, one is missed
        holds = accepted(found, work.factor) & alone
        moved = iter(self._faces(work, found.frames[holds], found.score[holds].tolist()))
        return [next(moved) if here else None for here in holds.tolist()]

    @torch.inference_mode()
    def whole(self, picture: Pixels) -> "Whole":
        """What the picture (H,W,3), stretched to a square, is as one frame."""
        height, width = picture.shape[:2]
        small = as_tensor(reduced(picture, max(1, min(height, width) // (2 * self.size))))
        shown = torch.nn.functional.interpolate(
            small, size=[self.size, self.size], mode="bilinear", antialias=True
        )
        frame = torch.tensor([[0.5, 0.5, 1.0, 0.0]])
        view = look(frame, shown, self.network, self.arrangement)
        x, y, side, angle = view.moved[0].tolist()
        shift, growth = math.hypot(x - 0.5, y - 0.5), abs(math.log(max(side, 1e-6)))
        return Whole(float(view.score), shift, growth, abs(angle), float(view.cover))

    def _align(self, work: Working, frames: Tensor, rounds: int = ROUNDS) -> Aligned:
        show = partial(cut, work.levels, size=self.size)
        return align(frames, show, self.network, self.arrangement, work.longest, rounds)

    def _turned_right(self, work: Working, found: Aligned) -> Aligned:
        """The same faces, those far from upright turned once more to where they score highest."""
        steep = (found.frames[:, 3].abs() > STEEP).nonzero()[:, 0]
        if not len(steep):
            return found
        best = Aligned(*(field.clone() for field in found))
        for quarters in (1, 2, 3):
            start = found.frames[steep] + torch.tensor([0.0, 0.0, 0.0, quarters * math.pi / 2])
            other = self._align(work, start)
            near = (other.frames[:, :2] - start[:, :2]).norm(dim=1) < 0.3 * start[:, 2]
            alike = (other.frames[:, 2] / start[:, 2]).log().abs() < math.log(1.6)
            wins = accepted(other, work.factor) & near & alike & (other.score > best.score[steep])
            for field, better in zip(best, other, strict=True):
                field[steep[wins]] = better[wins]
        best.frames[steep, 3] = wrapped(best.frames[steep, 3])
        return best

    def _faces(self, work: Working, frames: Tensor, scores: Sequence[float]) -> list[Face]:
        if not len(frames):
            return []
        probabilities = self.network(cut(work.levels, frames, self.size)).softmax(1)
        points = five_points(probabilities, frames, self.arrangement) * work.factor
        frames = frames * torch.tensor([*[work.factor] * 3, 1.0])
        rows = zip(frames.tolist(), scores, points.tolist(), strict=True)
        return [
            Face((x, y, side, angle), score, tuple((a, b) for a, b in five))
            for (x, y, side, angle), score, five in rows
        ]


def stretched(photo: Tensor) -> Tensor:
    """(1,3,H,W) in 0..255; a dark one with the brightest hundredth made white."""
    bright = photo.amax(1)[0, ::4, ::4].flatten()
    white = float(bright.kthvalue(max(1, math.ceil(0.99 * len(bright)))).values)
    return (photo * (235 / max(white, 8))).clamp(max=255) if white < DARK else photo


def unturned(frames: Tensor, turn: int, shape: Sequence[int]) -> Tensor:
    """Frames (N,4) in a photo after ``turn`` quarter turns, whose shape that is, as frames before them."""
    height, width = shape
    for _ in range(turn):
        x, y, side, angle = frames.unbind(1)
        frames = torch.stack([height - y, x, side, angle + math.pi / 2], 1)
        height, width = width, height
    return torch.cat([frames[:, :3], wrapped(frames[:, 3:])], 1)


def wrapped(angles: Tensor) -> Tensor:
    """The same directions, from -pi to pi."""
    return torch.remainder(angles + math.pi, 2 * math.pi) - math.pi
