"""Frames: turned squares in a photo, (N,4) float32 rows of centre x, centre y, side (pixels) and angle.

The angle is in radians, clockwise as seen: the direction of the frame's upper edge in the photo.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..pictures import Pixels

SMALLEST_LEVEL = 48
"""Halved pictures are kept down to this side, pixels."""

BAND = 2**22
"""Pixels that are reduced at once: Pillow copies them."""


def moved(windows: Tensor, matrix: Tensor) -> Tensor:
    """The frames that similarities (N,4) inside of windows (N,4) stand for."""
    cos, sin, x, y = matrix.unbind(1)
    right, down = (cos - sin) / 2 + x - 0.5, (cos + sin) / 2 + y - 0.5
    centre_x, centre_y, side, angle = windows.unbind(1)
    c, s = angle.cos(), angle.sin()
    return torch.stack(
        [
            centre_x + side * (c * right - s * down),
            centre_y + side * (s * right + c * down),
            side * matrix[:, :2].norm(dim=1),
            angle + torch.atan2(sin, cos),
        ],
        1,
    )


def halved(photo: Tensor) -> list[Tensor]:
    """The photo (1,3,H,W), and its halves, each half as large as the one before."""
    levels = [photo]
    while min(levels[-1].shape[2:]) >= 2 * SMALLEST_LEVEL:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def as_tensor(picture: Pixels) -> Tensor:
    """(H,W,3) uint8 to (1,3,H,W) float32 in 0..255."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
    return torch.from_numpy(planes)[None]


def reduced(picture: Pixels, factor: int) -> Pixels:
    """(H,W,3) as the means of squares of ``factor`` pixels, less at the edges; a few rows at a time."""
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    rows = max(1, BAND // (width * factor)) * factor
    bands = (np.ascontiguousarray(picture[top : top + rows]) for top in range(0, height, rows))
    return np.concatenate([np.asarray(Image.fromarray(band).reduce(factor)) for band in bands])


def cut(levels: list[Tensor], frames: Tensor, size: int) -> Tensor:
    """(N,3,size,size): what the frames show; outside of the photo its border is repeated."""
    return torch.cat([_cut(levels, frame, size) for frame in frames.tolist()])


def _cut(levels: list[Tensor], frame: list[float], size: int) -> Tensor:
    x, y, side, angle = frame
    level = max(0, min(len(levels) - 1, math.floor(math.log2(max(side, 1) / size))))
    scale = 0.5**level
    fine = 2 if side * scale > 1.2 * size else 1
    place = ((torch.arange(size * fine) + 0.5) / (size * fine) - 0.5) * side * scale
    c, s = math.cos(angle), math.sin(angle)
    grid_x = c * place - s * place[:, None] + x * scale
    grid_y = s * place + c * place[:, None] + y * scale
    source = levels[level]
    height, width = source.shape[2:]
    grid = torch.stack([grid_x / width * 2 - 1, grid_y / height * 2 - 1], 2)[None]
    shown = F.grid_sample(source, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(shown, fine) if fine > 1 else shown


def cut_fine(photo: Pixels, frame: Tensor, size: int) -> Tensor:
    """(1,3,size,size) of one frame, from the photo (H,W,3) itself; no float copy of all of it is made."""
    x, y, side, angle = frame.tolist()
    height, width = photo.shape[:2]
    reach = side * math.sqrt(0.5) + 2
    left, top = max(0, math.floor(x - reach)), max(0, math.floor(y - reach))
    right, bottom = min(width, math.ceil(x + reach)), min(height, math.ceil(y + reach))
    if right <= left or bottom <= top:  # the frame lies outside: its border is all there is
        left, top = min(max(0, left), width - 1), min(max(0, top), height - 1)
        right, bottom = left + 1, top + 1
    shrink = min(max(1, int(side / size)), right - left, bottom - top)
    level = as_tensor(reduced(photo[top:bottom, left:right], shrink))
    inside = [(x - left) / shrink, (y - top) / shrink, side / shrink, angle]
    return _cut([level], inside, size)
