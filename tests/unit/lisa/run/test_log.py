"""The run's log: what a killed run wrote after its last checkpoint is cut off, and nothing else."""

import json
from pathlib import Path

import pytest

from lisa.run.log import RunLog
from lisa.run.tensorboard import Events


def lines(folder: Path) -> int:
    return (folder / "metrics.jsonl").read_bytes().count(b"\n")


def test_a_resumed_log_is_cut_to_its_checkpoint(tmp_path: Path):
    log = RunLog(tmp_path, active=True)
    log.step(1, 10, 0.5, 1e-3)
    kept = log.offset
    log.step(1, 20, 0.4, 1e-3)
    log.close()
    resumed = RunLog(tmp_path, active=True, offset=kept)
    assert resumed.offset == kept  # also before anything is written
    resumed.step(1, 20, 0.4, 1e-3)
    resumed.close()
    assert lines(tmp_path) == 2


def test_a_lost_log_begins_anew(tmp_path: Path):
    log = RunLog(tmp_path, active=True, offset=1000)
    assert log.offset == 0
    log.step(1, 10, 0.5, 1e-3)
    log.close()
    assert b"\0" not in (tmp_path / "metrics.jsonl").read_bytes()


def test_a_loss_that_is_no_number_is_null(tmp_path: Path):
    log = RunLog(tmp_path, active=True)
    log.step(1, 10, float("nan"), 1e-3)
    log.step(1, 20, float("inf"), 1e-3)
    log.close()
    for line in (tmp_path / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_event_files_that_were_given_up_have_no_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """None keeps them all on a resume; {} would delete them."""

    def full(self: Events, values: dict[str, float], step: int) -> None:
        raise OSError("no space left")

    log = RunLog(tmp_path, active=True)
    assert log.flush() not in (None, {})
    monkeypatch.setattr(Events, "scalars", full)
    log.step(1, 10, 0.5, 1e-3)
    assert log.flush() is None
    log.close()


def test_other_ranks_write_and_print_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = RunLog(tmp_path, active=False)
    log.step(1, 10, 0.5, 1e-3)
    log.note("hello")
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
