"""The wait for pictures is measured, and told where it is long."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lisa.config import Config, DataConfig, TrainConfig
from lisa.run.log import RunLog
from lisa.training.loop import fit, warn_of_slow_loader
from lisa.training.pace import Pace
from lisa.world import World


class Slow(Dataset[Tensor]):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        time.sleep(self.seconds)
        return torch.tensor(index)


def share(loading: float, training: float) -> float:
    pace = Pace(World())
    for _ in pace.batches(DataLoader(Slow(loading))):
        time.sleep(training)
        pace.count(1)
    assert pace.pictures == 4
    return pace.record()["data_wait_share"]


def test_a_slow_loader_shows_and_a_fast_one_does_not():
    assert share(loading=0.2, training=0.0) > 0.7
    assert share(loading=0.0, training=0.2) < 0.3


def test_a_person_is_told_of_a_slow_loader(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = RunLog(tmp_path, active=True)
    warn_of_slow_loader({"data_wait_share": 0.05}, log)
    assert capsys.readouterr().out == ""
    warn_of_slow_loader({"data_wait_share": 0.45}, log)
    assert "held the device up for 45% of the epoch: raise --data.workers" in capsys.readouterr().out
    log.close()


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
