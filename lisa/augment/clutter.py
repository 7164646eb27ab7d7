"""Pictures without a face, made on the device: colours, textures, stripes, print, corners of portraits."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lisa.augment.upload import upload

CELLS = 48
"""Side of the noise that colours, textures and print are cut from, in cells."""

KINDS = (0.25, 0.4, 0.5, 0.6)
"""Where the share of smooth colours ends, of textures, of print and of stripes; the rest are corners."""

LARGEST_CORNER = 0.3
"""Side of the largest corner, as a share of the portrait: an aligned face has no eye, nose or mouth there."""

PATCHES = 2
"""Rectangles of other clutter that lie on the first."""


def draw_clutter(images: Tensor, count: int) -> Tensor:
    """(count,3,H,W) float32 in 0..255, from a batch (B,3,H,W) of aligned faces in the same range.

    Draws from torch's global CPU generator.
    """
    coordinates = _coordinates(images)
    made = _layer(images, count, coordinates)
    for _ in range(PATCHES):
        layer = _layer(images, count, coordinates)
        made = torch.where(_rectangles(count, coordinates), layer, made)
    return made


def _coordinates(images: Tensor) -> Tensor:
    """(2,H,W): x and y of each pixel's centre, -1..1."""
    height, width = images.shape[2:]
    y, x = ((torch.arange(length, device=images.device) * 2 + 1) / length - 1 for length in (height, width))
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def _draw(count: int, *ranges: tuple[float, float], device: torch.device) -> list[Tensor]:
    """A uniform number per picture (count,1,1) of each range."""
    low, high = (torch.tensor([each[end] for each in ranges])[:, None] for end in (0, 1))
    drawn = low + torch.rand(len(ranges), count) * (high - low)
    return list(upload(drawn, device)[:, :, None, None])


def _layer(images: Tensor, count: int, coordinates: Tensor) -> Tensor:
    """One kind of clutter per picture."""
    x, y = coordinates
    kind, zoom, turn, waves, ratio = _draw(
        count, (0, 1), (0, 1), (0, math.pi), (4, 40), (0.3, 1), device=images.device
    )
    smooth, textured, printed, striped = (kind < end for end in KINDS)
    noise = upload(torch.rand(count, 3, CELLS, CELLS), images.device)
    pale, dark = (noise[:, :, :1, index : index + 1] for index in (0, 1))
    # Print: lines of black and white cells with gaps between them.
    lines = (torch.arange(CELLS, device=images.device) % 4 < 3)[:, None]
    cells = torch.where((printed & ~textured)[:, None], ((noise[:, :1] > 0.5) & lines).float(), noise)
    # A few cells enlarged are smooth colours, many are a texture.
    window = torch.where(smooth, 2 + 4 * zoom, 8 + (CELLS - 8) * zoom) / CELLS
    made = _cut(cells, window, window * torch.where(textured, ratio, 1.0), zoom * 2 - 1, coordinates)
    made = torch.where((printed & ~textured)[:, None], pale + (dark - pale) * made, made)
    wave = torch.sin((x * turn.cos() + y * turn.sin()) * waves)
    crossing = torch.sin((y * turn.cos() - x * turn.sin()) * waves * ratio)
    stripes = torch.where(zoom < 0.5, wave, torch.maximum(wave, crossing)).mul(4).clamp(-1, 1)
    made = torch.where(
        (striped & ~printed)[:, None], pale + (dark - pale) * (stripes[:, None] / 2 + 0.5), made
    )
    return torch.where(striped[:, None], made * 255, _corners(images, count, coordinates))


def _corners(images: Tensor, count: int, coordinates: Tensor) -> Tensor:
    """Enlarged corners of other pictures of the batch, half of them upside down."""
    side, across, down, over = _draw(
        count, (0.1, LARGEST_CORNER), (-1, 1), (-1, 1), (-1, 1), device=images.device
    )
    others = upload(torch.randint(len(images), (count,)), images.device)
    x, y = coordinates
    grid = torch.stack(
        [
            across.sign() * (1 - side) + x * side,
            down.sign() * (1 - side) + y * over.sign() * side,
        ],
        dim=3,
    )
    return F.grid_sample(images[others], grid, padding_mode="border", align_corners=False)


def _cut(source: Tensor, wide: Tensor, tall: Tensor, place: Tensor, coordinates: Tensor) -> Tensor:
    """A window of each picture, enlarged: its half sides, and where it lies, -1..1."""
    x, y = coordinates
    grid = torch.stack([place * (1 - wide) + x * wide, place * (1 - tall) + y * tall], dim=3)
    return F.grid_sample(source, grid, padding_mode="border", align_corners=False)


def _rectangles(count: int, coordinates: Tensor) -> Tensor:
    """(count,1,H,W) bool: a turned rectangle per picture."""
    x, y = coordinates
    across, down, width, height, turn = _draw(
        count, (-1, 1), (-1, 1), (0.1, 0.7), (0.1, 0.7), (0, math.pi), device=coordinates.device
    )
    along = (x - across) * turn.cos() + (y - down) * turn.sin()
    beside = (y - down) * turn.cos() - (x - across) * turn.sin()
    return ((along.abs() < width) & (beside.abs() < height))[:, None]
