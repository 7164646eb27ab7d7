"""The run's log: what a killed run wrote after its last checkpoint is cut off, and nothing else."""

import json
import os
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lisa.evaluation.metrics import Tally, figures
from lisa.figures.curves import draw_curves
from lisa.labels.celebamask import CELEBAMASK
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


def test_half_a_line_is_no_part_of_a_resumed_log(tmp_path: Path):
    """A power cut takes what was not on the disk yet; the checkpoint, which was, knows the longer log."""
    log = RunLog(tmp_path, active=True)
    log.step(1, 10, 0.5, 1e-3)
    log.step(1, 20, 0.4, 1e-3)
    known = log.offset
    log.close()
    os.truncate(tmp_path / "metrics.jsonl", known - 9)
    resumed = RunLog(tmp_path, active=True, offset=known)
    resumed.step(1, 30, 0.3, 1e-3)
    resumed.close()
    records = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert [record["step"] for record in records] == [10, 30]


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


def test_an_epoch_without_a_finite_loss_is_json_and_has_curves(tmp_path: Path):
    """No step of a short epoch may have had one, which is too few to stop the run."""
    tally, skin = Tally(1, CELEBAMASK), torch.ones(4, 4, dtype=torch.uint8)
    tally.add(0, skin, skin)
    record = {
        "epoch": 1,
        "train_loss": float("nan"),
        "timing": {"images_per_second": 1.0, "data_wait_share": 0.0},
        "loss": 2.0,
        **figures(tally),
    }
    log = RunLog(tmp_path, active=True)
    log.epoch(record, step=4)
    log.close()
    line = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(line)["train_loss"] is None
    assert 'train_loss": NaN' not in line
    draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")


def test_a_full_disk_ends_the_events_and_not_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(self: Events, values: dict[str, float], step: int) -> None:
        raise OSError(28, "No space left on device")

    log = RunLog(tmp_path, active=True)
    monkeypatch.setattr(Events, "scalars", full)
    for step in (10, 20):
        log.step(1, step, 0.5, 1e-3)
        log.flush()
    log.close()
    assert capsys.readouterr().out.count("no more TensorBoard events: No space left on device") == 1
    assert lines(tmp_path) == 2


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_tensorboard_shows_a_step_that_is_taken_again_once(tmp_path: Path):
    killed = RunLog(tmp_path, active=True, purge_step=0)
    for step in (10, 20, 30):
        killed.step(1, step, float(step), 1e-3)
    killed.close()
    time.sleep(1)  # files of one second are in the order of their names, and ....10 is before ....9
    resumed = RunLog(tmp_path, active=True, step=20, purge_step=20)
    resumed.step(1, 30, 31.0, 1e-3)
    resumed.close()
    assert curve(tmp_path, "train/loss") == [(9, 10.0), (19, 20.0), (29, 31.0)]


def test_other_ranks_write_and_print_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = RunLog(tmp_path, active=False)
    log.step(1, 10, 0.5, 1e-3)
    log.note("hello")
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
