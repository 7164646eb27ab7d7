"""The networks of LISA's plan, and their shapes."""

from typing import NamedTuple


class Shape(NamedTuple):
    """What parts one network of LISA's plan from another."""

    fold: int
    """Side of the square of pixels that becomes one pixel in front of the network."""
    widths: tuple[int, int, int, int, int]
    """Channels of the five encoder stages."""


SHAPES = {
    "lisa": Shape(1, (32, 64, 142, 320, 512)),
    "lisa_fold4": Shape(4, (64, 128, 192, 320, 416)),
}
"""By name in timm's registry; LISA's is Table 1's."""

DEPTHS = (1, 2, 2, 3, 1)
"""Blocks of the five encoder stages (Table 1)."""
HAMBURGER_RATIO = 0.5
"""Channels inside the Hamburger as published, as a share of the fifth stage's."""
