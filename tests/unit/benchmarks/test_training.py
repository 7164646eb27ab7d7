"""The training benchmarks run and measure what they say."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.data.links import link_faces
from benchmarks.training.fast_paths import last_miou
from benchmarks.training.plain import OneHotFaces, loss_of, train
from benchmarks.training.profile import record
from lisa.config import Config, DataConfig, LossConfig, OptimConfig, TrainConfig
from lisa.data.folders import find_pairs
from lisa.losses import SegmentationLoss


@pytest.mark.slow
def test_the_plain_loop_trains(make_faces: Callable[..., Path]):
    assert train(make_faces(), size=32, batch_size=2, steps=2, workers=0) > 0


def test_the_plain_loss_is_the_reports():
    """One-hot masks of every class give the loss of ours."""
    target = torch.arange(19).repeat(2, 16).reshape(2, 16, 19)
    logits = torch.randn(2, 19, 16, 19)
    masks = torch.nn.functional.one_hot(target, 19).movedim(3, 1).float()
    ours = SegmentationLoss(LossConfig())(logits, target)
    assert loss_of(logits, masks) == pytest.approx(ours.item(), rel=1e-5)


def test_plain_pictures_have_one_mask_per_class(make_faces: Callable[..., Path]):
    image, masks = OneHotFaces(find_pairs(make_faces(), "train"), 32)[0]
    assert image.shape == (3, 32, 32)
    assert masks.shape == (19, 32, 32)
    assert torch.equal(masks.sum(0), torch.ones(32, 32))


@pytest.mark.slow
def test_a_profile_names_the_parts(make_faces: Callable[..., Path], tmp_path: Path):
    data = link_faces(make_faces(), tmp_path / "linked", 4, 2)
    record(data, 32, 2, tmp_path / "profile")
    seconds = json.loads((tmp_path / "profile/profile.json").read_text())
    assert min(seconds[name] for name in ("data wait", "augmentation", "forward", "optimizer")) > 0
    assert seconds["backward"] > seconds["copy"]
    assert "augmentation" in (tmp_path / "profile/trace.json").read_text()


@pytest.mark.slow
def test_fast_and_plain_paths_train_alike(make_faces: Callable[..., Path], tmp_path: Path):
    mious = [
        last_miou(
            Config(
                data=DataConfig(root=str(make_faces(name=str(plain))), size=32, workers=0),
                optim=OptimConfig(ema_decay=0),
                train=TrainConfig(epochs=1, batch_size=2),
                output=str(tmp_path / f"run{plain}"),
            ),
            plain,
        )
        for plain in (False, True)
    ]
    assert mious[0] == pytest.approx(mious[1], abs=0.5)
