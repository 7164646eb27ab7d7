"""What a run settles when it begins, and what it says of a run that goes on with other options."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.evaluation.metrics import figures
from lisa.run import checkpoint
from lisa.training import loop, precision
from lisa.training.loop import fit
from lisa.training.start import changes
from lisa.world import World


def small(root: Path, output: Path) -> Config:
    return Config(
        data=DataConfig(root=str(root), size=32, workers=0),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        train=TrainConfig(epochs=1, batch_size=2),
        output=str(output),
    )


def test_changes_name_each_option_and_nothing_that_was_settled():
    before = Config(train=TrainConfig(precision="fp32", auto_batch=True))
    assert changes(before, before) == []
    now = dataclasses.replace(before, optim=OptimConfig(lr=1e-3), output="elsewhere")
    now = dataclasses.replace(now, train=TrainConfig(precision="bf16", seed=3))
    assert changes(before, now) == [
        "options changed since the last checkpoint: optim.lr 0.002 -> 0.001, "
        "train.precision fp32 -> bf16, train.seed 0 -> 3"
    ]
    earlier = Config()  # a checkpoint of an earlier version says auto
    assert changes(earlier, dataclasses.replace(earlier, train=TrainConfig(precision="bf16"))) == []


def test_auto_is_settled_anew_where_a_run_goes_on_and_that_is_said(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    config = small(make_faces(), tmp_path / "run")
    monkeypatch.setattr(precision, "multiplies_bf16", lambda device: True)
    fit(config, World())
    assert Config.from_json((tmp_path / "run/config.json").read_text()).train.precision == "bf16"
    monkeypatch.setattr(precision, "multiplies_bf16", lambda device: False)
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=2))
    assert fit(longer, World(), resume=True).finished
    said = " ".join(capsys.readouterr().out.split())
    assert "last checkpoint: train.epochs 1 -> 2, train.precision bf16 -> fp32" in said
    for settled in (
        Config.from_json((tmp_path / "run/config.json").read_text()),
        Config.from_dict(checkpoint.load(tmp_path / "run/last.pt")["config"]),
    ):
        assert settled.train.precision == "fp32"


def test_a_metric_that_is_no_number_is_said_after_the_first_epoch(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def nothing_counts(tally: Any) -> dict[str, Any]:
        return {**figures(tally), "miou": float("nan")}

    monkeypatch.setattr(loop, "figures", nothing_counts)
    result = fit(small(make_faces(), tmp_path / "run"), World())
    assert (result.finished, result.best_epoch) == (True, 0)
    assert "warning: epoch 1: val mIoU is not a number" in capsys.readouterr().out
    assert not (tmp_path / "run/best.pt").exists()
