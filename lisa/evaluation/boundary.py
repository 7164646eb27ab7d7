"""The band along a label map's contours, for boundary IoU (Cheng et al., CVPR 2021, arXiv:2103.16562).

Boundary IoU compares only the pixels within a distance d of a mask's own contour, inside the mask, so that
the inside of large regions can't hide coarse edges. d is the paper's 2 % of the picture's diagonal (14 pixels
at 512x512), and the picture's border counts as a contour, as in the authors' code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lisa.labels import IGNORE_INDEX

DILATION_RATIO = 0.02
"""d as a share of the picture's diagonal."""

_OUTSIDE = IGNORE_INDEX - 1


def boundary_distance(height: int, width: int) -> int:
    """d in pixels, at least 1."""
    return max(1, round(DILATION_RATIO * math.hypot(height, width)))


def boundary_band(labels: Tensor, distance: int) -> Tensor:
    """(H,W) uint8 ids to (H,W) bool: pixels within ``distance`` of another id or of the picture's border.

    The distance is the chessboard's: a mask without its band is the mask eroded ``distance`` times by
    3x3. All classes at once, because a square of one id has equal smallest and largest ids.
    """
    padded = F.pad(labels, [distance] * 4, value=_OUTSIDE)
    window = 2 * distance + 1
    largest, inverse_smallest = _window_max(padded, window), _window_max(255 - padded, window)
    return largest != 255 - inverse_smallest


def _window_max(plane: Tensor, window: int) -> Tensor:
    """Largest value in each window x window square that lies in the plane."""
    for dim in (0, 1):
        length = plane.shape[dim] - window + 1
        reach = 1
        while 2 * reach <= window:  # doubling: a few vectorised passes instead of one per pixel of the window
            shorter = plane.shape[dim] - reach
            plane = torch.maximum(plane.narrow(dim, 0, shorter), plane.narrow(dim, reach, shorter))
            reach *= 2
        plane = torch.maximum(plane.narrow(dim, 0, length), plane.narrow(dim, window - reach, length))
    return plane
