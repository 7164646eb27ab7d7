"""Labels from a face's own frame back into the photo, at the photo's pixels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..pictures import Pixels

BLOCK = 2**17
"""Pixels that are labelled at once: 19 classes of them take 10 MB."""


@dataclass(frozen=True)
class Block:
    """Rows of the photo that a frame reaches: where they lie, and where in the frame they fall."""

    rows: slice
    columns: slice
    grid: Tensor
    """(h,w,2): x and y in the frame, -1..1 inside."""

    @property
    def distance(self) -> NDArray[np.float32]:
        """(h,w) from the frame's centre, in half sides."""
        return self.grid.norm(dim=2).numpy()

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(h,w): whether the pixel lies in the frame."""
        return (self.grid.abs() <= 1).all(2).numpy()


def blocks(frame: Tensor, height: int, width: int) -> Iterator[Block]:
    """All pixels of a photo that the frame (4,) may reach, some rows at a time."""
    x, y, side, angle = frame.tolist()
    reach = side * (abs(math.cos(angle)) + abs(math.sin(angle))) / 2 + 1
    left, right = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach))
    top, bottom = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach))
    if right <= left:
        return
    c, s = math.cos(angle) * 2 / side, math.sin(angle) * 2 / side
    across = torch.arange(left, right) + 0.5 - x
    step = max(1, BLOCK // (right - left))
    for start in range(top, bottom, step):
        stop = min(bottom, start + step)
        down = (torch.arange(start, stop) + 0.5 - y)[:, None]
        grid = torch.stack([c * across + s * down, c * down - s * across], 2)
        yield Block(slice(start, stop), slice(left, right), grid)


def sample(values: Tensor, grid: Tensor) -> Tensor:
    """(C,n,n) of a frame to (C,h,w) at the places (h,w,2) of a grid, bilinear."""
    grid = grid[None].to(values.device)
    return F.grid_sample(values[None], grid, padding_mode="border", align_corners=False)[0]


class Labels:
    """The labels of a frame at the photo's pixels: the largest of its logits (C,n,n) there, bilinear.

    Where four neighbours have one label, so has every pixel between them: few pixels need their logits.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        ids = largest(logits)
        self.ids = ids[:-1, :-1].contiguous()
        """(n-1,n-1) uint8: the upper left one of four neighbours."""
        self.mixed = (self.ids != ids[:-1, 1:]) | (self.ids != ids[1:, :-1]) | (self.ids != ids[1:, 1:])

    def at(self, block: Block) -> Tensor:
        """(h,w) uint8, on the CPU."""
        n = self.logits.shape[-1]
        column, row = (((block.grid + 1) * n - 1) / 2).long().clamp(0, n - 2).unbind(2)
        place = row * (n - 1) + column
        labels, mixed = self.ids.take(place), self.mixed.take(place)
        grid = block.grid[mixed]
        if len(grid):
            labels[mixed] = largest(sample(self.logits, grid[None]))[0]
        return labels


def largest(logits: Tensor) -> Tensor:
    """(C,h,w) to ids (h,w) uint8, on the CPU."""
    # The first of equal maxima, as argmax gives it, in a quarter of its time where classes are planes.
    return logits.max(0).indices.to(torch.uint8).cpu()


class Labelled:
    """A photo's label map as its faces are put back, one after another.

    Of overlapping faces the one whose centre is nearer, in its own sides, keeps a pixel. Background never
    paints over a face.
    """

    def __init__(self, height: int, width: int) -> None:
        self.ids: Pixels = np.zeros((height, width), np.uint8)
        self.owner: NDArray[np.uint16] = np.zeros((height, width), np.uint16)
        """Number of the face from 1 on; 0 for none."""
        self._frames: list[Tensor] = []

    def add(self, logits: Tensor, frame: Tensor) -> None:
        """Puts (C,n,n) logits of a frame (4,) back."""
        self._frames.append(frame)
        number, found = len(self._frames), Labels(logits)
        for block in blocks(frame, *self.ids.shape):
            labels = found.at(block).numpy()
            ids, owner = self.ids[block.rows, block.columns], self.owner[block.rows, block.columns]
            take = block.inside & (labels > 0)
            taken = take & (owner > 0)
            if taken.any():
                take &= (owner == 0) | (block.distance < self._distances(block, owner))
            ids[take] = labels[take]
            owner[take] = number

    def _distances(self, block: Block, owner: NDArray[np.uint16]) -> NDArray[np.float32]:
        """(h,w) of each pixel from its owner's centre, in the owner's half sides; without one infinite."""
        y, x = (
            np.arange(each.start, each.stop, dtype=np.float32) + 0.5 for each in (block.rows, block.columns)
        )
        found = np.full(owner.shape, np.inf, np.float32)
        for number in np.unique(owner[owner > 0]).tolist():
            centre_x, centre_y, side, _ = self._frames[number - 1].tolist()
            distance = np.hypot(x - centre_x, (y - centre_y)[:, None]) * (2 / side)
            np.copyto(found, distance, where=owner == number)
        return found
