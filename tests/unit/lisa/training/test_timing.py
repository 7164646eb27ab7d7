"""The wait for pictures is measured, and told where it is long; slow ranks are named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lisa.config import Config, DataConfig, TrainConfig
from lisa.training import timing
from lisa.training.loop import fit
from lisa.training.timing import Clock, Timing, name_stragglers
from lisa.world import World


class Hands:
    """A clock's hands, which only a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def epoch(self, loading: float, training: float, steps: int = 4) -> Timing:
        """Two pictures a step; the first batch takes 100 s, for the loader's processes start."""
        clock = Clock()
        for number in range(steps):
            clock.fetch(lambda seconds=loading if number else 100.0: self.move(seconds))
            self.move(training)
            clock.count(2, own_seconds=training / 2)
        clock.fetch(lambda: self.move(0))
        return clock.stop(World())

    def move(self, seconds: float) -> None:
        self.now += seconds


def test_a_slow_loader_shows_and_the_first_batch_starts_the_clock(monkeypatch: pytest.MonkeyPatch):
    slow = Hands(monkeypatch).epoch(loading=0.2, training=0.1)
    assert slow.seconds == pytest.approx(101.0)
    assert slow.images_per_second == pytest.approx(8 / 1.0)
    assert slow.data_wait_share == pytest.approx(0.6)
    assert slow.warnings == [
        "the loader held the device up for 60% of the epoch: "
        "raise --data.workers, or keep decoded pictures in --data.cache FOLDER"
    ]
    assert Hands(monkeypatch).epoch(loading=0.01, training=0.1).warnings == []


def test_own_time_is_fetching_and_the_steps_own_part(monkeypatch: pytest.MonkeyPatch):
    heard: list[object] = []

    class Two(World):
        def all_gather(self, value: object) -> list[object]:
            heard.append(value)
            return [value, ("rank 1 on b", 1.0, 0.5)]

    hands, clock = Hands(monkeypatch), Clock()
    for _ in range(3):
        clock.fetch(lambda: hands.move(0.2))
        hands.move(5.0)
        clock.count(2, own_seconds=0.1)
    told = clock.stop(Two(world_size=2))
    ((_, own, share),) = heard  # pyright: ignore[reportGeneralTypeIssues, reportAssignmentType]
    assert own == pytest.approx((2 * 0.2 + 3 * 0.1) / 3)
    assert share == pytest.approx(0.4 / 15.4)
    assert told.data_wait_share == 0.5
    assert told.warnings[0].startswith("straggler: rank 1 on b takes 4.3 x the median")


def test_far_slower_than_the_median_is_named():
    times = [("rank 0 on a", 0.1), ("rank 1 on a", 0.1), ("rank 2 on b", 0.09), ("rank 3 on b", 0.24)]
    (line,) = name_stragglers(times)
    assert line.startswith("straggler: rank 3 on b takes 2.4 x the median time per step (240 ms")


def test_one_of_two_can_be_slow_and_trifles_are_not_named():
    assert len(name_stragglers([("rank 0 on a", 0.1), ("rank 1 on a", 0.3)])) == 1
    assert name_stragglers([("rank 0 on a", 0.001), ("rank 1 on a", 0.003)]) == []
    assert name_stragglers([("rank 0 on a", 0.1)]) == []


def test_an_epochs_pace_is_logged(make_faces: Callable[..., Path], tmp_path: Path):
    config = Config(
        data=DataConfig(root=str(make_faces()), size=32, workers=0),
        train=TrainConfig(epochs=1, batch_size=2, activation_checkpointing=True),
        output=str(tmp_path / "run"),
    )
    fit(config, World())
    (epoch,) = [
        record
        for record in map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
        if record["event"] == "epoch"
    ]
    assert epoch["timing"]["images_per_second"] > 0
    assert 0 <= epoch["timing"]["data_wait_share"] <= 1
