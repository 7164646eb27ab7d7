"""How the trials of a search are ranked, and which config is the best."""

from dataclasses import replace
from typing import Any

import pytest

from lisa.config import RECIPES
from lisa.errors import InputError
from tune.experiment import Outcome
from tune.results import best_config, leaderboard, order_by_score
from tune.space import Space

SPACE = Space(RECIPES["best"]())


def outcome(name: str, miou: float | None, lr: float = 1e-3, error: str = "") -> Outcome:
    result: dict[str, Any] = {} if miou is None else {"best_miou": miou, "diverged": miou == 0}
    return Outcome(name, {**SPACE.start(), "optim.lr": lr}, result, error, finished=True)


OUTCOMES = [
    outcome("fair", 0.5),
    outcome("failed", None, error="no memory"),
    outcome("best", 0.7, lr=3e-3),
    outcome("diverged", 0.0),
]


def test_the_best_trial_comes_first_and_those_without_a_score_last():
    assert [each.trial for each in order_by_score(OUTCOMES)] == ["best", "fair", "diverged"]
    rows = [line.split(",") for line in leaderboard(OUTCOMES).splitlines()[1:]]
    assert [row[:3] for row in rows] == [
        ["1", "best", "0.7"],
        ["2", "fair", "0.5"],
        ["3", "diverged", "0.0"],
        ["4", "failed", ""],
    ]
    assert rows[-1][-1] == "no memory"


def test_the_best_config_is_the_best_trials_at_the_recipes_budget():
    expected = replace(SPACE.base, optim=replace(SPACE.base.optim, lr=3e-3), output="runs/best")
    assert best_config(SPACE, OUTCOMES, "runs/best") == expected


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [(OUTCOMES[1:2], "no memory"), (OUTCOMES[3:], "all diverged"), ([], "all diverged")],
)
def test_a_search_without_a_score_has_no_best_config(outcomes: list[Outcome], reason: str):
    with pytest.raises(InputError, match=f"no trial came to a score: {reason}"):
        best_config(SPACE, outcomes, "runs/best")
