"""Alignment: cut the face out along its frame, look at it again, move the frame, until it stands still."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .arrangement import Arrangement
from .frames import moved
from .parts import centres, cover, part_maps
from .search import SMALLEST, Network
from .similarity import fit
from .suppress import kept

ROUNDS = 4
STILL = (0.02, 0.04, math.radians(2.5))
"""Moves below these count as standing still: of the centre (sides), the side (its logarithm), the angle."""

DEAD_SCORE, LOST, LARGEST = 0.2, 12, 4
"""A frame is given up below this score, below so many pixels, above so many of the photo's longer sides."""

HALF = 4
"""So many of eyes, brows, nose and mouth show a face of which a mask or a door hides the rest."""

BATCH = 16


class Aligned(NamedTuple):
    """Frames after their last move, (N,...)."""

    frames: Tensor
    score: Tensor
    move: Tensor
    """The last move, in units of STILL: below 1 the frame stood still."""
    cover: Tensor
    """Share of the inner face that skin, eyes, nose and the like cover."""
    parts: Tensor
    """How many parts are at their places."""

    def take(self, index: Tensor | list[int]) -> "Aligned":
        """Some of them."""
        return Aligned(*(field[index] for field in self))


class View(NamedTuple):
    """What the network makes of frames (N,4)."""

    moved: Tensor
    score: Tensor
    cover: Tensor
    parts: Tensor


def look(frames: Tensor, shown: Tensor, network: Network, arrangement: Arrangement) -> View:
    """Fits frames to what they show, (N,3,size,size)."""
    batches = zip(frames.split(BATCH), shown.split(BATCH), strict=True)
    views = [view_of(some, network(pictures).softmax(1), arrangement) for some, pictures in batches]
    return View(*(torch.cat(list(field)) for field in zip(*views, strict=True)))


def view_of(frames: Tensor, probabilities: Tensor, arrangement: Arrangement) -> View:
    """Fits frames to the probabilities (N,C,size,size) of what they show."""
    places, masses = (each.cpu() for each in centres(part_maps(probabilities, arrangement), arrangement))
    found = fit(places, masses, arrangement)
    covered = cover(probabilities, arrangement).cpu()
    return View(moved(frames, found.matrix), found.score, covered, found.parts)


def align(
    frames: Tensor,
    cut: Callable[[Tensor], Tensor],
    network: Network,
    arrangement: Arrangement,
    longest: float,
    rounds: int = ROUNDS,
) -> Aligned:
    """Moves frames (N,4) until they stand still; those that lead nowhere get score 0.

    ``cut`` shows frames to the network, (N,4) to (N,3,size,size); ``longest`` is the photo's longer side.
    """
    count = len(frames)
    result = Aligned(
        frames.clone(),
        torch.zeros(count),
        torch.full((count,), math.inf),
        torch.zeros(count),
        torch.zeros(count, dtype=torch.long),
    )
    done = torch.zeros(count, dtype=torch.bool)
    for number in range(rounds):
        index = (~done).nonzero()[:, 0]
        if not len(index):
            break
        before = result.frames[index]
        view = look(before, cut(before), network, arrangement)
        move = size_of_move(before, view.moved)
        side = view.moved[:, 2]
        dead = (view.score < DEAD_SCORE) | (side < LOST) | (side > LARGEST * longest)
        result.frames[index] = torch.where(dead[:, None], before, view.moved)
        result.score[index] = torch.where(dead, 0.0, view.score)
        result.move[index], result.cover[index], result.parts[index] = move, view.cover, view.parts
        done[index] = dead | (move < 1)
        if number > 0:  # two that walked to one place: one goes on
            alone = torch.zeros(count, dtype=torch.bool)
            alone[kept(result.frames, result.score, 0.2, 1.35)] = True
            result.score[~alone] = 0
            done |= ~alone
    return result


def size_of_move(before: Tensor, after: Tensor) -> Tensor:
    """(N,) in units of STILL."""
    shift = (after[:, :2] - before[:, :2]).norm(dim=1) / before[:, 2]
    growth = (after[:, 2] / before[:, 2]).log().abs()
    turn = (after[:, 3] - before[:, 3]).abs()
    return torch.stack([shift / STILL[0], growth / STILL[1], turn / STILL[2]]).amax(0)


def accepted(found: Aligned, pixels_per_unit: float) -> Tensor:
    """(N,) bool: whether it is a face; the photo has ``pixels_per_unit`` pixels per unit of the frames."""
    side = found.frames[:, 2] * pixels_per_unit
    sure = (found.score > 0.60) & (found.move < 3) & (found.cover > 0.6)
    still = (found.score > 0.50) & (found.move < 1)
    whole = found.cover > 0.8
    hidden = (found.parts >= HALF) & (found.cover > 0.3)
    least = torch.full_like(side, 80.0)  # small ones must be surer
    least[found.score > 0.75] = SMALLEST
    least[found.score > 0.9] = 0.85 * SMALLEST
    return (sure | (still & (whole | hidden))) & (side >= least)
