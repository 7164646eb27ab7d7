"""LISA's trainable parameters in closed form: counted without torch, before anything is built."""

from collections.abc import Sequence
from itertools import pairwise

from lisa.config.shapes import HAMBURGER_RATIO
from lisa.labels import NUM_CLASSES


def count_lisa(
    widths: Sequence[int],
    depths: Sequence[int],
    hamburger_ratio: float = HAMBURGER_RATIO,
    prelu: bool = True,
    classes: int = NUM_CLASSES,
    fold: int = 1,
) -> int:
    """The exact count of :class:`lisa.models.LISA` (Table 1).

    ``widths`` and ``depths`` are the five stages' channels and blocks; ``prelu`` tells whether the activation
    has a slope per channel, ``fold`` the side of the squares of pixels that are folded into channels.
    """
    total = 0
    for (before, width), depth in zip(pairwise((3 * fold**2, *widths)), depths, strict=True):
        total += _unit(before, width, prelu) + (depth - 1) * _unit(width, width, prelu) + depth * _msca(width)
    total += sum(_unit(below + skip, skip, prelu) for skip, below in pairwise(widths))
    inner = hamburger_width(widths[-1], hamburger_ratio)
    total += inner * (2 * widths[-1] + inner + 2) + widths[-1]
    return total + classes * fold**2 * (widths[0] + 1)


def hamburger_width(channels: int, ratio: float) -> int:
    """Channels inside the Hamburger."""
    return max(1, int(channels * ratio))


def _unit(before: int, after: int, prelu: bool) -> int:
    """Depthwise 3x3, BatchNorm, activation, pointwise, BatchNorm."""
    return (9 + 2 + int(prelu)) * before + before * after + 2 * after


def _msca(width: int) -> int:
    """A depthwise 5x5, depthwise strips of 7, 11 and 21 both ways, a pointwise convolution; all with bias."""
    return width * (25 + 1 + 2 * (7 + 11 + 21 + 3)) + width * (width + 1)
