"""How fast an epoch goes, and how much of it the device waits for pictures."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from lisa.world import World

T = TypeVar("T")

SLOW_LOADER = 0.2
"""Share of an epoch spent waiting from which on a person is told."""


class Pace:
    """Counts one epoch's pictures and seconds on this rank.

    The first batch starts the clock: the loader's processes start and fill their queues before it, once. A
    step on a GPU ends when its gradient's norm is read, so that what is waited for here is waited for there.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.waited = self.seconds = 0.0
        self.pictures = 0

    def batches(self, loader: Iterable[T]) -> Iterator[T]:
        """The loader's batches; the time between asking for one and having it counts as waiting."""
        iterator = iter(loader)
        batch = next(iterator, None)
        started = time.monotonic()
        while batch is not None:
            yield batch
            asked = time.monotonic()
            batch = next(iterator, None)
            self.waited += time.monotonic() - asked
            self.seconds = time.monotonic() - started

    def count(self, pictures: int) -> None:
        """Counts a step's pictures, over all ranks."""
        self.pictures += pictures

    def record(self) -> dict[str, float]:
        """``images_per_second`` over all ranks, ``data_wait_share`` of the rank that waited longest."""
        seconds = max(self.seconds, 1e-9)
        return {
            "images_per_second": self.pictures / seconds,
            "data_wait_share": max(self.world.all_gather(self.waited / seconds)),
        }
