"""A set with train alone: which of its pictures are held out as val, and that everybody asks for the same."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import distributed.evaluate
from lisa.config import Config, DataConfig, TrainConfig
from lisa.data.folders import find_pairs, held_out, run_pictures
from lisa.errors import InputError
from lisa.figures.comparison import draw_grid
from lisa.run import checkpoint
from lisa.training.loop import fit, load_faces
from lisa.world import World


def stems(paths: object) -> list[str]:
    return sorted(path.stem for path in paths)  # type: ignore[attr-defined]


@pytest.fixture
def only_train(make_faces: Callable[..., Path]) -> Path:
    root = make_faces(train=24)
    shutil.rmtree(root / "val")
    return root


def test_the_name_alone_decides(tmp_path: Path):
    """The right values: of 0 to 23, these have a SHA-256 below a tenth, and below a quarter, of the range."""
    images = [tmp_path / f"{number}.png" for number in range(24)]
    assert stems(held_out(images, 0.1)) == ["9"]
    assert stems(held_out(images, 0.25)) == ["13", "8", "9"]
    for others in (images[8:10], [*images, *(tmp_path / f"x{number}.jpg" for number in range(50))]):
        held = held_out(others, 0.1)
        assert images[9] in held
        assert images[8] not in held
    elsewhere = [Path("/data") / f"{number}.jpg" for number in range(24)]
    assert stems(held_out(elsewhere, 0.25)) == ["13", "8", "9"]


def test_each_side_has_a_picture(tmp_path: Path):
    images = [tmp_path / f"{number}.png" for number in (0, 1, 2)]
    assert stems(held_out(images, 0.01)) == ["0"]
    assert stems(held_out(images, 0.99)) == ["0", "1"]
    with pytest.raises(InputError, match=r"data\.val_share = 0\.5: 1 training pictures can't be shared out"):
        held_out(images[:1], 0.5)


def test_train_is_the_rest_and_other_splits_stay(only_train: Path, tmp_path: Path):
    val = find_pairs(only_train, "val", val_share=0.25)
    train = find_pairs(only_train, "train", val_share=0.25)
    assert stems(pair.image for pair in val) == ["13", "8", "9"]
    assert sorted(train + val) == find_pairs(only_train, "train")
    assert find_pairs(only_train, "test", val_share=0.25) == find_pairs(only_train, "test")
    assert run_pictures(only_train, "val", 0.25) == [pair.image for pair in val]
    assert run_pictures(only_train, "train", 0.25) == [pair.image for pair in train]
    (tmp_path / "exclude.txt").write_text("train/images/8.png\n")
    kept = find_pairs(only_train, "val", exclude=tmp_path / "exclude.txt", val_share=0.25)
    assert stems(pair.image for pair in kept) == ["13", "9"]


def test_what_is_said_without_a_val_split_and_with_two(only_train: Path, make_faces: Callable[..., Path]):
    with pytest.raises(InputError, match=r"no split 'val' here .*; in training --data\.val-share 0\.1 holds"):
        find_pairs(only_train, "val")
    whole = make_faces(name="whole")
    with pytest.raises(InputError, match=r"data\.val_share = 0\.1: .*whole has a split val; give one of the"):
        find_pairs(whole, "train", val_share=0.1)
    with pytest.raises(InputError, match=r"data\.val_share = 1.*0 to below 1"):
        DataConfig(val_share=1.0)
    assert run_pictures(whole, "val", 0.1) == run_pictures(whole, "val")


def test_a_run_its_evaluation_and_its_figures_hold_out_the_same(
    only_train: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = Config(
        data=DataConfig(root=str(only_train), size=32, workers=0, val_share=0.25),
        train=TrainConfig(epochs=1, batch_size=21),
        output=str(tmp_path / "run"),
    )
    result = fit(config, World())
    assert fit(config, World(), resume=True).best_miou == result.best_miou
    assert stems(pair.image for pair in load_faces(config, World())[1].val) == ["13", "8", "9"]
    command = ["evaluate", "--checkpoint", str(tmp_path / "run/best.pt"), "--data", str(only_train)]
    monkeypatch.setattr(sys, "argv", [*command, "--output", str(tmp_path / "val.json")])
    assert distributed.evaluate.main() == 0
    record = json.loads((tmp_path / "val.json").read_text())
    assert sorted(record["picture_mious"]) == ["13", "8", "9"]
    assert record["miou"] == result.best_miou
    trained = checkpoint.load_network(tmp_path / "run/best.pt")
    draw_grid(trained, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000
    whole = dataclasses.replace(config.data, val_share=0.0)
    with pytest.raises(InputError, match="no split 'val' here"):
        load_faces(dataclasses.replace(config, data=whole), World())
