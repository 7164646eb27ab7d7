"""A search's experiment as Ray has left it, without a cluster."""

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lisa.config import RECIPES, Config
from lisa.errors import InputError
from tune import plots
from tune.experiment import Experiment, Outcome, outcomes_of
from tune.space import Point, Space
from tune.trial import Job


def no_config(point: Point) -> Config:
    raise NotImplementedError


@pytest.mark.parametrize("length", [0, 100, 500])
def test_a_state_that_a_killed_driver_cut_short_is_one_line(length: int, tmp_path: Path):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/tuner.pkl").write_bytes(pickle.dumps({"name": "x" * 1000})[:length])
    table: Any = None
    experiment = Experiment(Job(no_config, str(tmp_path)), {"cpu": 1}, trials=1)
    with pytest.raises(InputError, match=r"ray/tuner\.pkl: cut short .*: delete .*/ray, then --resume"):
        experiment.run(table, resume=True)


def test_trials_are_drawn_as_they_began_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A resumed search has them in another order, and one that was interrupted has a second life."""

    def trial(name: str, start: float | None, last_life: float) -> Any:
        result = {"best_miou": 0.5, "began": last_life}
        metadata = SimpleNamespace(start_time=start)
        return SimpleNamespace(trial_id=name, config={}, last_result=result, run_metadata=metadata)

    trials = [trial("never", None, 9), trial("second", 2, 2), trial("first", 1, 3)]
    outcomes = outcomes_of([(each, "TERMINATED") for each in trials])
    drawn: list[list[str]] = []

    def draw(path: Path, outcomes: list[Outcome]) -> None:
        drawn.append([outcome.trial for outcome in outcomes])

    monkeypatch.setattr(plots, "_draw_best_so_far", draw)
    monkeypatch.setattr(plots, "_draw_parallel", lambda *arguments: None)
    plots.draw_plots(tmp_path, Space(RECIPES["best"]()), outcomes, two_objectives=False)
    assert drawn == [["first", "second", "never"]]
