"""One clock for an epoch on this rank: how fast it goes, how long it waits for pictures, who holds it up."""

import logging
import time
from collections.abc import Callable, Sequence
from statistics import median_low
from typing import NamedTuple, TypeVar

from lisa.world import World

T = TypeVar("T")

SLOW_LOADER = 0.2
"""Share of an epoch spent waiting from which on a person is told."""

STRAGGLER = 2.0
"""A rank is named from this multiple of the median on."""

NOTICEABLE = 0.02
"""Seconds per step below which nobody is named."""

logger = logging.getLogger(__name__)


class Timing(NamedTuple):
    """An epoch's training as the clock saw it; the same on all ranks."""

    seconds: float
    images_per_second: float
    """Over all ranks."""
    data_wait_share: float
    """Of the rank that waited longest."""
    warnings: list[str]


class Clock:
    """Counts one epoch's seconds.

    The first batch starts it: the loader's processes start and fill their queues before it, once. A rank's
    own time is loading, augmentation and forward pass, without the backward pass, in which ranks wait for one
    another. On a GPU the forward pass is only launched in that time: a slow loader or host shows, a throttled
    GPU does not.
    """

    def __init__(self) -> None:
        self.waited = self.own = 0.0
        self.pictures = self.steps = 0
        self.began = time.perf_counter()
        self._started: float | None = None

    def fetch(self, action: Callable[[], T]) -> T:
        """The action's batch; but for the first one the time that it takes counts as waiting."""
        asked = time.perf_counter()
        try:
            return action()
        finally:
            now = time.perf_counter()
            if self._started is None:
                self._started = now
            else:
                self.waited += now - asked

    def count(self, pictures: int, own_seconds: float) -> None:
        """Counts a step: its pictures over all ranks, and the rank's own time in it."""
        self.pictures += pictures
        self.steps += 1
        self.own += own_seconds

    def stop(self, world: World) -> Timing:
        """The epoch's figures, from all ranks. Call it when the device has finished the last step."""
        now = time.perf_counter()
        seconds = max(now - (self._started or now), 1e-9)
        own = (self.waited + self.own) / max(self.steps, 1)
        logger.info("%d steps, %.1f ms of this rank's own each", self.steps, 1000 * own)
        ranks = world.all_gather((world.place, own, self.waited / seconds))
        share = max(share for _, _, share in ranks)
        warnings = name_stragglers([(place, own) for place, own, _ in ranks])
        if share > SLOW_LOADER:
            warnings.append(
                f"the loader held the device up for {share:.0%} of the epoch: "
                "raise --data.workers, or keep decoded pictures in --data.cache FOLDER"
            )
        return Timing(now - self.began, self.pictures / seconds, share, warnings)


def name_stragglers(per_step: Sequence[tuple[str, float]]) -> list[str]:
    """A line for each rank that needs far longer than the median; rank by rank (place, seconds per step)."""
    median = median_low(seconds for _, seconds in per_step)
    return [
        f"straggler: {place} takes {seconds / max(median, 1e-9):.1f} x the median time per step "
        f"({1000 * seconds:.0f} ms of its own, the median rank {1000 * median:.0f} ms)"
        for place, seconds in per_step
        if seconds > STRAGGLER * median and seconds - median > NOTICEABLE
    ]
