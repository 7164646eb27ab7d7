"""The closing line of a run."""

import pytest
from rich.console import Console

from deploy.predictor.report import Report, summarise


@pytest.mark.parametrize(("seconds", "rate"), [(0.04, "25.0"), (25.0, "0.04"), (0.0, "0")])
def test_slow_runs_have_a_rate_too(seconds: float, rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    summarise(Report(done=1, seconds=seconds), Console())
    assert f"; {rate} pictures/s" in capsys.readouterr().out
