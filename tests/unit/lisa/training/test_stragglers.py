"""Who is named, and what counts as a rank's own time."""

from collections.abc import Iterator

import pytest

from lisa.training import stragglers
from lisa.training.stragglers import OwnTime, name_stragglers


def test_far_slower_than_the_median_is_named():
    times = [("rank 0 on a", 0.1), ("rank 1 on a", 0.1), ("rank 2 on b", 0.09), ("rank 3 on b", 0.24)]
    (line,) = name_stragglers(times)
    assert line.startswith("straggler: rank 3 on b takes 2.4 x the median time per step (240 ms")


def test_one_of_two_can_be_slow_and_trifles_are_not_named():
    assert len(name_stragglers([("rank 0 on a", 0.1), ("rank 1 on a", 0.3)])) == 1
    assert name_stragglers([("rank 0 on a", 0.001), ("rank 1 on a", 0.003)]) == []
    assert name_stragglers([("rank 0 on a", 0.1)]) == []


def test_own_time_is_fetching_but_the_first_and_what_is_marked(monkeypatch: pytest.MonkeyPatch):
    now = 0.0
    monkeypatch.setattr(stragglers.time, "perf_counter", lambda: now)

    def batches() -> Iterator[int]:
        nonlocal now
        for number in range(3):
            now += 100 if number == 0 else 1
            yield number

    own = OwnTime()
    for _ in own.around(batches()):
        own.go()
        now += 10
        own.wait()
        now += 1000
    assert own.seconds == 2 + 30
