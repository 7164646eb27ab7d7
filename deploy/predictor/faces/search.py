"""The search: the network sees the whole photo at several sizes, and the parts vote for frames."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from .arrangement import GLASSES_WEIGHT, Arrangement
from .frames import moved
from .parts import box_means, centres, part_maps
from .similarity import fit

Network = Callable[[Tensor], Tensor]
"""(B,3,h,w) RGB in 0..255, sides multiples of 32, to logits (B,C,h,w) float32."""

SMALLEST = 48
"""Frames below this side, pixels, are not looked for: print and fine patterns make false faces there."""

SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18)
"""Frames' sides that are looked for, as shares of the photo's shorter side; the fit finds those between."""

MULTIPLE = 32
"""The network halves a picture five times."""

BOX = 0.06
"""Half side of the box in which a part may lie around its place, share of the frame's side."""

LEAST_VOTE, PEAKS, LEAST_SCORE = 0.3, 24, 0.35

TILE, TILE_BORDER, TILES = 128, 32, 16
"""Larger pictures go through the network in tiles of so many pixels, of which so many at the inner borders
are context alone, so many tiles at once. A network of 96 pixels knows frames of about that size: in one call
on a large picture it found 6 of 12 small faces, in tiles of 256, 192, 160 and 128 pixels 7, 10, 12 and 12.
"""

LONGEST = 3.0
"""A photo longer than so many times its shorter side is searched in pieces that overlap by one of them."""


def propose(photo: Tensor, network: Network, arrangement: Arrangement, window: int) -> tuple[Tensor, Tensor]:
    """Frames (N,4) that may hold a face in the photo (1,3,H,W), and their scores (N,).

    ``window`` is the side at which the network sees the frames that it looks for, pixels.
    """
    shares = [share for share in SHARES if share * min(photo.shape[2:]) > 0.7 * SMALLEST]
    frames, scores = [torch.zeros(0, 4)], [torch.zeros(0)]
    for left, top, piece in _pieces(photo):
        for share in shares:
            found, score = _at_size(piece, share, network, arrangement, window)
            frames.append(found + torch.tensor([left, top, 0.0, 0.0]))
            scores.append(score)
    found, score = torch.cat(frames), torch.cat(scores)
    height, width = photo.shape[2:]
    centre = found[:, :2] / torch.tensor([width, height])
    good = (score > LEAST_SCORE) & (centre > -0.1).all(1) & (centre < 1.1).all(1)
    return found[good], score[good]


def is_long(photo: Tensor) -> bool:
    """Whether the photo (1,3,H,W) is searched in pieces."""
    return max(photo.shape[2:]) > LONGEST * min(photo.shape[2:])


def _pieces(photo: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Left, top and pixels of pieces that are not too long: memory stays bounded."""
    height, width = photo.shape[2:]
    short, long = min(height, width), max(height, width)
    if not is_long(photo):
        yield 0, 0, photo
        return
    count = math.ceil((long - short) / ((LONGEST - 1) * short))
    for index in range(count):
        start = round(index * (long - LONGEST * short) / max(1, count - 1))
        stop = start + round(LONGEST * short)
        if width > height:
            yield start, 0, photo[:, :, :, start:stop]
        else:
            yield 0, start, photo[:, :, start:stop]


def _at_size(
    photo: Tensor, share: float, network: Network, arrangement: Arrangement, window: int
) -> tuple[Tensor, Tensor]:
    """Frames of about this share of the photo's shorter side, and their scores."""
    height, width = photo.shape[2:]
    scale = window / (share * min(height, width))
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    small = F.interpolate(photo, size=[rows, columns], mode="bilinear", antialias=True)
    maps = part_maps(tiled_logits(small, network).softmax(1), arrangement)
    margin = window // 4
    maps = F.pad(maps, (margin, margin, margin, margin))
    y, x = _peaks(_votes(maps, arrangement, window), window)
    if not len(x):
        return torch.zeros(0, 4), torch.zeros(0)
    around = F.pad(maps, (window // 2,) * 4)
    views = [
        around[:, :, top : top + window, left : left + window]
        for top, left in zip(y.tolist(), x.tolist(), strict=True)
    ]
    places, masses = centres(torch.cat(views), arrangement)
    found = fit(places.cpu(), masses.cpu(), arrangement)
    centre = (torch.stack([x, y], 1) - margin + 0.5) / torch.tensor([columns / width, rows / height])
    windows = torch.cat([centre, torch.tensor([[window / scale, 0.0]]).expand(len(x), 2)], 1)
    return moved(windows, found.matrix), found.score


def tiled_logits(picture: Tensor, network: Network) -> Tensor:
    """(1,C,h,w) of a picture (1,3,h,w) of any size, tile by tile."""
    height, width = picture.shape[2:]
    tops, lefts = _starts(height), _starts(width)
    side_y, side_x = min(TILE, _padded(height)), min(TILE, _padded(width))
    padding = (0, max(0, side_x - width), 0, max(0, side_y - height))
    filled = F.pad(picture, padding, mode="replicate")
    tiles = [filled[:, :, top : top + side_y, left : left + side_x] for top, left in product(tops, lefts)]
    parts = iter(torch.cat([network(some) for some in torch.cat(tiles).split(TILES)]))
    whole: Tensor | None = None
    for top, left in product(tops, lefts):
        part = next(parts)
        if whole is None:
            whole = part.new_empty(1, len(part), *filled.shape[2:])
        # Its own border is the other tiles' middle: they see more around it.
        inner_y, inner_x = TILE_BORDER * (top > 0), TILE_BORDER * (left > 0)
        whole[0, :, top + inner_y : top + side_y, left + inner_x : left + side_x] = part[
            :, inner_y:, inner_x:
        ]
    assert whole is not None
    return whole[:, :, :height, :width]


def _padded(length: int) -> int:
    return length + -length % MULTIPLE


def _starts(length: int) -> list[int]:
    """Where tiles begin along a side; the last one ends with it."""
    if length <= TILE:
        return [0]
    count = math.ceil((length - 2 * TILE_BORDER) / (TILE - 2 * TILE_BORDER))
    return [round(index * (length - TILE) / (count - 1)) for index in range(count)]


def _votes(maps: Tensor, arrangement: Arrangement, window: int) -> Tensor:
    """(1,P,h,w) to (h,w): what an upright frame centred at each pixel would score, roughly."""
    reach = max(1, round(BOX * window))
    enough = _box_sums(maps, reach)
    if arrangement.has_glasses:
        enough = torch.cat([enough[:, :-1], _box_sums(maps[:, -1:], 2 * reach)], 1)
    area = arrangement.area.to(maps.device).view(1, -1, 1, 1) * 0.35 * window**2
    seen = (enough / area).clamp(max=1)
    shifts = ((arrangement.place - 0.5) * window).round().int().tolist()
    voted = [_shifted(seen[0, part], dx, dy) for part, (dx, dy) in enumerate(shifts)]
    weight = arrangement.weight.tolist()
    eyes = weight[0] * voted[0] + weight[1] * voted[1]
    if arrangement.has_glasses:
        eyes = torch.maximum(eyes, GLASSES_WEIGHT * voted.pop())
    votes = sum((weight[part] * voted[part] for part in range(2, len(voted))), eyes)
    votes = votes / arrangement.total_weight
    # Plateaus have no single largest pixel: a little of the mean makes one of their middle.
    return votes + 1e-4 * box_means(votes[None, None], reach)[0, 0]


def _box_sums(maps: Tensor, reach: int) -> Tensor:
    return box_means(maps, reach) * (2 * reach + 1) ** 2


def _shifted(plane: Tensor, dx: int, dy: int) -> Tensor:
    """plane[y + dy, x + dx] at each (y, x), 0 outside."""
    height, width = plane.shape
    padded = F.pad(plane, (max(0, -dx), max(0, dx), max(0, -dy), max(0, dy)))
    return padded[max(0, dy) : max(0, dy) + height, max(0, dx) : max(0, dx) + width]


def _peaks(votes: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the highest places."""
    reach = max(1, round(0.1 * window))
    largest = F.max_pool2d(votes[None, None], 2 * reach + 1, 1, reach)[0, 0]
    y, x = ((votes == largest) & (votes > LEAST_VOTE)).nonzero(as_tuple=True)
    best = votes[y, x].argsort(descending=True)[:PEAKS]
    return y[best].cpu(), x[best].cpu()
