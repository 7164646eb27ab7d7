"""Which rank holds the others up. All ranks finish a step together, so only a rank's own part tells."""

import time
from collections.abc import Iterable, Iterator, Sequence
from statistics import median_low
from typing import TypeVar

T = TypeVar("T")

STRAGGLER = 2.0
"""A rank is named from this multiple of the median on."""

NOTICEABLE = 0.02
"""Seconds per step below which nobody is named."""


class OwnTime:
    """Seconds that a rank spends on its own part of steps: loading, augmentation, forward pass.

    The backward pass, in which ranks wait for one another, is left out. On a GPU the forward pass is only
    the time to launch it: a slow loader or host shows, a throttled GPU does not.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = time.perf_counter()

    def go(self) -> None:
        """This rank's own part begins."""
        self._since = time.perf_counter()

    def around(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches; fetching them is this rank's own part, but for the first, which starts the loader."""
        iterator = iter(batches)
        batch = next(iterator, None)
        while batch is not None:
            yield batch
            self.go()
            batch = next(iterator, None)
            self.wait()

    def wait(self) -> None:
        """It ends: what follows depends on the other ranks."""
        self.seconds += time.perf_counter() - self._since


def name_stragglers(per_step: Sequence[tuple[str, float]]) -> list[str]:
    """A line for each rank that needs far longer than the median; rank by rank (place, seconds per step)."""
    median = median_low(seconds for _, seconds in per_step)
    return [
        f"straggler: {place} takes {seconds / max(median, 1e-9):.1f} x the median time per step "
        f"({1000 * seconds:.0f} ms of its own, the median rank {1000 * median:.0f} ms)"
        for place, seconds in per_step
        if seconds > STRAGGLER * median and seconds - median > NOTICEABLE
    ]
