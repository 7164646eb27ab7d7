"""Where the search begins, and which trials are stopped early, without a cluster."""

from types import SimpleNamespace
from typing import Any

import pytest

from lisa.config import RECIPES
from tune.searcher import ResumableASHA, make_scheduler, make_searcher
from tune.space import Space


class Trials:
    """Trials by their names, as a scheduler for 9 epochs meets them."""

    def __init__(self) -> None:
        self.scheduler: ResumableASHA = make_scheduler(9)
        self.by_name: dict[str, Any] = {}

    def add(self, name: str, curve: list[float] | None = None) -> None:
        """One that is restored has a curve."""
        last_result = None if curve is None else {"curve": curve}
        self.by_name[name] = SimpleNamespace(trial_id=name, last_result=last_result)
        self.scheduler.on_trial_add(None, self.by_name[name])  # pyright: ignore[reportArgumentType]

    def goes_on(self, name: str, epoch: int, miou: float) -> bool:
        result = {"epoch": epoch, "best_miou": miou}
        controller: Any = None
        return self.scheduler.on_trial_result(controller, self.by_name[name], result) == "CONTINUE"


def test_of_trials_at_a_rung_the_worse_ones_stop():
    trials = Trials()
    for name in ("first", "worse", "better"):
        trials.add(name)
    assert trials.goes_on("first", 1, 0.5)
    assert not trials.goes_on("worse", 1, 0.4)
    assert trials.goes_on("better", 1, 0.6)
    assert trials.goes_on("first", 3, 0.55)
    assert not trials.goes_on("better", 3, 0.54)


@pytest.mark.parametrize(("epoch", "miou", "expected"), [(1, 0.49, False), (1, 0.5, True), (3, 0.69, False)])
def test_a_restored_trials_epochs_count_at_the_rungs(epoch: int, miou: float, expected: bool):
    trials = Trials()
    trials.add("restored", [0.5, 0.6, 0.7])
    trials.add("new")
    assert trials.goes_on("new", epoch, miou) is expected
    assert trials.goes_on("restored", 4, 0.1), "the rungs behind it are taken"


@pytest.mark.parametrize("kind", ["tpe", "random"])
@pytest.mark.parametrize("latency", [False, True])
def test_the_recipes_own_point_is_drawn_first(kind: str, latency: bool):
    space = Space(RECIPES["best"]())
    searcher = make_searcher(space, kind, latency, seed=0)
    assert searcher.suggest("a") == space.start()
    drawn = searcher.suggest("b")
    assert drawn is not None
    assert drawn != space.start()
    assert all(each.low <= drawn[name] <= each.high for name, each in space.ranges().items())
