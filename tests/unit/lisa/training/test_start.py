"""What a run settles when it begins, and what it says of a run that goes on with other options."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from resume_helpers import Stopped

from lisa.config import AugmentConfig, Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.data import shared_memory
from lisa.data.pairs import Pair
from lisa.errors import InputError
from lisa.evaluation.metrics import figures
from lisa.labels import Label, LabelSet
from lisa.labels.celebamask import IDS
from lisa.run import checkpoint
from lisa.training import loop, precision, start
from lisa.training.loop import fit
from lisa.training.start import (
    absent_notes,
    changes,
    load_faces,
    settle_workers,
    together,
)
from lisa.world import World


def small(root: Path, output: Path) -> Config:
    return Config(
        data=DataConfig(root=str(root), size=32, workers=0),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        train=TrainConfig(epochs=1, batch_size=2),
        output=str(output),
    )


@pytest.mark.parametrize(
    ("device", "asked", "cores", "ranks", "room", "expected"),
    [
        ("cpu", -1, 64, 1, 10**12, 2),
        ("cuda", -1, 64, 4, 10**12, 12),
        ("cuda", -1, 64, 8, 10**12, 7),
        ("cuda", -1, 4, 8, 10**12, 2),
        ("cuda", -1, 64, 1, 11 * 16 * 4 * 512**2, 4),
        ("cuda", -1, 64, 1, 0, 2),
        ("cuda", 3, 64, 1, 10**12, 3),
        ("cuda", 0, 64, 1, 10**12, 0),
    ],
)
def test_a_gpus_rank_has_its_share_of_the_cores_to_decode(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: int, cores: int, ranks: int, room: int, expected: int
):
    """And no more than /dev/shm has room for: eleven batches of 16 at 512 pixels are four workers'."""
    monkeypatch.setattr(start, "available_cores", lambda: cores)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: room)
    world = World(world_size=1, local_world_size=ranks, device=torch.device(device))
    config = settle_workers(Config(data=DataConfig(workers=asked)), world, [])
    assert config.data.workers == expected


def test_a_gpus_rank_has_no_more_processes_than_evaluation_has_room_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Eight val pictures of 1024 pixels take twice the room of sixteen at 512."""
    Image.new("RGB", (1024, 1024)).save(tmp_path / "0.png")
    monkeypatch.setattr(start, "available_cores", lambda: 64)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 23 * 16 * 4 * 512**2)
    world, pair = World(device=torch.device("cuda")), Pair(tmp_path / "0.png", tmp_path / "0.png")
    assert settle_workers(Config(), world, []).data.workers == 10
    assert settle_workers(Config(), world, [pair]).data.workers == 4


@pytest.mark.parametrize(
    ("batch", "ranks", "parts", "device", "expected"),
    [
        (8, 8, 1, "cuda", 8),  # one picture each, normalised together
        (8, 1, 8, "cuda", 1),  # what becomes of it on one GPU
        (8, 1, 1, "cuda", 8),
        (64, 2, 1, "cuda", 32),  # enough on each
        (8, 4, 1, "cpu", 2),
    ],
)
def test_batchnorm_normalises_so_many_pictures(
    batch: int, ranks: int, parts: int, device: str, expected: int
):
    assert together(batch, ranks, parts, torch.device(device)) == expected


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


def test_a_run_does_not_go_on_without_an_option_that_is_gone(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run")
    fit(config, World())
    last = checkpoint.load(tmp_path / "run/last.pt")
    last["config"]["loss"]["focal"] = 1.0
    checkpoint.save(last, tmp_path / "run/last.pt")
    longer = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=2))
    with pytest.raises(
        InputError, match=r"trained with loss\.focal = 1\.0, which this version has not: .* --init .*last\.pt"
    ):
        fit(longer, World(), resume=True)
    anew = dataclasses.replace(config.train, init=f"{tmp_path}/run/last.pt")
    assert fit(dataclasses.replace(config, train=anew, output=str(tmp_path / "anew")), World()).finished


def test_listed_masks_are_repaired_and_that_is_said(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run")
    listed = tmp_path / "repair.txt"
    listed.write_text("train/masks/2.png\n")
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, repair=str(listed)))
    _, faces = load_faces(config, World())
    assert [pair.mask.name for pair in faces.train if pair.swap] == ["2.png"]
    assert not any(pair.swap for pair in faces.val)
    assert f"{listed}: left and right exchanged in 1 of 4 training masks" in faces.notes


@pytest.mark.parametrize(("batch", "goes_on", "last"), [(4, 2, 2), (1, 6, 8)])
def test_another_size_of_batch_goes_on_at_the_same_share_of_the_epoch(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    batch: int,
    goes_on: int,
    last: int,
):
    """Three of four batches of two are done: by number alone, pictures would be left out or repeated."""
    tiny, heard = ModelConfig(widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1)), list[dict[str, Any]]()
    config = dataclasses.replace(small(make_faces(train=8), tmp_path / "run"), model=tiny)
    assert not fit(config, Stopped()).finished
    assert checkpoint.load(tmp_path / "run/last.pt")["training"]["batch"] == 3
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=batch))
    assert fit(other, World(), resume=True, on_epoch=heard.append).finished
    said = " ".join(capsys.readouterr().out.split())
    assert f"an epoch has {last} steps now: it goes on after {goes_on} of them, where 3 of another" in said
    assert [(record["epoch"], record["step"]) for record in heard] == [(1, last)]


def test_labels_that_no_training_mask_has_are_named():
    counts = np.ones(19, np.int64)
    assert absent_notes(Config(), counts) == []
    counts[[IDS["nose"], IDS["l_ear"]]] = 0
    assert absent_notes(Config(), counts) == ["no training mask has nose: nothing to learn from"]
    upright = Config(augment=AugmentConfig(flip=0))
    assert absent_notes(upright, counts) == ["no training mask has nose, l_ear: nothing to learn from"]
    counts[IDS["r_ear"]] = 0
    assert absent_notes(Config(), counts) == [
        "no training mask has nose, l_ear, r_ear: nothing to learn from"
    ]
    unknown = Config(data=DataConfig(encoding="background,skin"))
    assert absent_notes(unknown, np.array([5, 5] + [0] * 17)) == []  # the encoding's own note tells of these


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


@pytest.mark.parametrize("label", [Label("a", (0, 0, 9), ("left_eye",)), Label("RightHand", (0, 0, 9))])
def test_one_side_alone_does_not_train_with_flips(
    label: Label, make_faces: Callable[..., Path], tmp_path: Path
):
    labels = LabelSet(
        "one", (Label("rest", (0, 0, 0)), label, Label("l_lip", (9, 0, 0)), Label("bright_hair", (9, 9, 0)))
    )
    config = dataclasses.replace(small(make_faces(train=2), tmp_path / "run"), labels=labels)
    with pytest.raises(InputError, match=f"{label.name}: no label for the other side.*--augment.flip 0"):
        load_faces(config, World())
    dataclasses.replace(config, augment=AugmentConfig(flip=0)).require_learnable()


def test_both_sides_under_one_label_train_with_flips():
    eyes = Label("eyes", (0, 0, 9), ("left_eye", "right_eye"))
    Config(labels=LabelSet("both", (Label("rest", (0, 0, 0)), eyes))).require_learnable()


def test_sides_that_are_no_pair_do_not_train():
    """Of a set that was made in Python; those in files are refused where they are read."""
    ears = (Label("left_ear", (0, 0, 9)), Label("right_ear", (0, 9, 0)))
    config = Config(labels=LabelSet("ears", (Label("rest", (0, 0, 0)), *ears)))
    with pytest.raises(InputError, match="left_ear and right_ear are left and right: name them in pairs"):
        config.require_learnable()
    Config.from_json(config.to_json()).require_learnable()  # an older run's config.json
