"""Samples that stand for a whole list."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of the items in their order, evenly spread, the first and the last among them."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(most, len(items)), dtype=int)]
