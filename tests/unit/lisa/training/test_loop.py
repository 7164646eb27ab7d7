"""The loop in one process: how a run begins, what it leaves behind, and which weights are the best."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from published_helpers import write_published
from run_helpers import small_run

from lisa.config import Config, ModelConfig, OptimConfig, TrainConfig
from lisa.data.folders import find_pairs
from lisa.errors import DivergedError, InputError
from lisa.evaluation.evaluate import evaluate
from lisa.evaluation.metrics import figures
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.run import checkpoint
from lisa.training.loop import fit
from lisa.training.precision import settle_precision
from lisa.training.state import TrainState
from lisa.world import World


def test_a_run_leaves_checkpoints_logs_and_figures(make_faces: Callable[..., Path], tmp_path: Path):
    heard: list[dict[str, Any]] = []
    config = small_run(make_faces(train=5), tmp_path / "run")
    result = fit(config, World(), on_epoch=heard.append)
    assert result.finished
    assert [record["epoch"] for record in heard] == [1, 2]
    best = checkpoint.load(tmp_path / "run/best.pt")
    assert best["metrics"]["miou"] == result.best_miou == max(record["miou"] for record in heard)
    settled = settle_precision(config, World())
    assert Config.from_dict(best["config"]) == settled != config
    assert Config.from_json((tmp_path / "run/config.json").read_text()) == settled
    assert list((tmp_path / "run/tensorboard").iterdir())
    assert {"parts", "reason"} & set(best["arrangement"]), "five faces may be too few to say more"
    assert checkpoint.load(tmp_path / "run/last.pt")["arrangement"] == best["arrangement"]


def test_a_run_that_is_stopped_before_its_first_figure_has_no_best(
    make_faces: Callable[..., Path], tmp_path: Path
):
    world = World()
    world.stop_asked = True
    assert not fit(small_run(make_faces(), tmp_path / "run"), world).finished
    told = json.loads((tmp_path / "run/summary.json").read_text())
    assert (told["best"], told["epochs"]) == ({"miou": None, "epoch": None}, 0)
    assert checkpoint.load(tmp_path / "run/last.pt")["metrics"] == {}


def test_a_run_begins_with_another_ones_weights(make_faces: Callable[..., Path], tmp_path: Path):
    """A second stage at a larger size; once it has begun it no longer needs the first."""
    first = small_run(make_faces(), tmp_path / "first", epochs=1)
    fit(first, World())
    weights = checkpoint.load(tmp_path / "first/best.pt")["weights"]
    started = TrainConfig(init=str(tmp_path / "first/best.pt"), epochs=1, batch_size=2)
    still = OptimConfig(lr=1e-12, min_lr=0, ema_decay=0)
    second = small_run(Path(first.data.root), tmp_path / "second")
    second = dataclasses.replace(second, data=dataclasses.replace(second.data, size=48), optim=still)
    second = dataclasses.replace(second, train=started)
    fit(second, World())
    begun = checkpoint.load(tmp_path / "second/last.pt")["weights"]
    parameters = dict(build(first.model).named_parameters())
    assert all(torch.allclose(begun[name], weights[name], atol=1e-9) for name in parameters)

    (tmp_path / "first/best.pt").unlink()
    longer = dataclasses.replace(second, train=dataclasses.replace(started, epochs=2))
    assert fit(longer, World(), resume=True).epochs == 2
    begun_by = dataclasses.replace(started, init=str(tmp_path / "second/best.pt"))
    other = dataclasses.replace(
        longer, model=ModelConfig(name="lisa_fold4"), train=begun_by, output=str(tmp_path / "other")
    )
    with pytest.raises(InputError, match=r"another network \(lisa, this run trains lisa_fold4\)"):
        fit(other, World())
    with pytest.raises(InputError, match=r"first/best\.pt: No such file"):
        fit(dataclasses.replace(longer, output=str(tmp_path / "third")), World())
    assert not (tmp_path / "third/last.pt").exists()


def test_a_run_begins_with_the_published_weights_and_says_so(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_published(tmp_path / "best_model.pth")
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    still = dataclasses.replace(config, optim=OptimConfig(lr=1e-12, min_lr=0, ema_decay=0))
    fit(dataclasses.replace(still, train=dataclasses.replace(config.train, init=str(path))), World())
    begun = checkpoint.load(tmp_path / "run/last.pt")
    assert "origin" not in begun  # its figures are of this run
    weights = checkpoint.load_network(path).network.named_parameters()
    assert all(torch.allclose(begun["weights"][name], value, atol=1e-9) for name, value in weights)
    line = f"{path}: {checkpoint.PUBLISHED}"
    assert capsys.readouterr().out.splitlines().count(line) == 1
    assert line in (tmp_path / "run/logs/rank0.log").read_text()


def test_early_stopping(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=30, patience=1)
    # A rate this small changes no prediction, so that no epoch is better than the first.
    still = dataclasses.replace(config, optim=OptimConfig(lr=1e-12, min_lr=0, ema_decay=0))
    result = fit(still, World())
    assert result.finished
    assert result.epochs == result.best_epoch + 1 < 30


def test_unwritable_output(make_faces: Callable[..., Path], tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        fit(small_run(make_faces(), tmp_path / "file/run"), World())


def test_an_empty_data_folder_leaves_nothing_to_resume(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no split 'train' here"):
        fit(small_run(tmp_path / "empty", tmp_path / "run"), World())
    assert not (tmp_path / "run").exists()


def test_the_epochs_rate_is_that_of_its_last_step(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Plateau lowers it at an epoch's end, here each time that the loss is not 1000 better."""
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau
    impatient = partial(torchs, threshold=1000, threshold_mode="abs")
    monkeypatch.setattr(torch.optim.lr_scheduler, "ReduceLROnPlateau", impatient)
    monkeypatch.setattr("lisa.training.optim.PLATEAU_PATIENCE", 0)
    heard: list[dict[str, Any]] = []
    config = small_run(make_faces(), tmp_path / "run", epochs=3)
    plateau = dataclasses.replace(config, optim=OptimConfig(lr=1e-3, schedule="plateau", ema_decay=0))
    fit(plateau, World(), on_epoch=heard.append)
    assert [record["lr"] for record in heard] == pytest.approx([1e-3, 1e-3, 1e-4])


def test_a_batch_without_a_picture_for_each_process_is_refused_before_the_data_are_read(tmp_path: Path):
    with pytest.raises(InputError, match=r"batch_size = 2: at least one picture for each of 3 processes"):
        fit(small_run(tmp_path / "nowhere", tmp_path / "run"), World(world_size=3))
    assert not (tmp_path / "run").exists()


def test_views_show_each_picture_so_many_times(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(train=4), tmp_path / "run", epochs=1)
    heard: list[dict[str, Any]] = []
    three = dataclasses.replace(config, train=TrainConfig(epochs=1, batch_size=2, views=3))
    fit(three, World(), on_epoch=heard.append)
    assert heard[0]["step"] == 6


def test_the_better_of_raw_and_averaged_weights_is_kept(make_faces: Callable[..., Path], tmp_path: Path):
    heard: list[dict[str, Any]] = []
    config = small_run(make_faces(), tmp_path / "run", epochs=2)
    fit(config, World(), on_epoch=heard.append)
    for record in heard:
        assert record["miou"] == max(record["miou_by_weights"].values())
        assert record["miou_by_weights"][record["weights"]] == record["miou"]
    kept = checkpoint.load_network(tmp_path / "run/best.pt")
    tally = evaluate(kept.network, 32, find_pairs(config.data.root, "val"), World()).tally
    assert figures(tally)["miou"] == max(record["miou"] for record in heard)


def test_a_run_that_diverges_leaves_its_last_good_weights(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = small_run(make_faces(train=4), tmp_path / "run")
    diverging = dataclasses.replace(config, train=TrainConfig(epochs=6, batch_size=2))
    forward = SegmentationLoss.forward
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationLoss, "forward", lambda *inputs: forward(*inputs) * float("nan"))
        with pytest.raises(DivergedError, match=r"last good checkpoint is .*run/last\.pt"):
            fit(diverging, World())
    assert all(
        value.isfinite().all() for value in checkpoint.load(tmp_path / "run/last.pt")["weights"].values()
    )
    resumed = fit(diverging, World(), resume=True)
    assert (resumed.finished, resumed.epochs) == (True, 6)


def test_an_average_that_begins_late_begins_with_the_weights_so_far():
    without = Config(optim=OptimConfig(ema_decay=0))
    torch.manual_seed(0)
    saved = TrainState(build(without.model), without, 1, World()).state_dict(World())
    state = TrainState(build(without.model), Config(), 1, World())
    state.load_state_dict(saved, "last.pt", World())
    for name, value in state.averaged.state_dict().items():
        assert torch.equal(value, saved["network"][name]), name
