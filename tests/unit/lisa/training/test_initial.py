"""The network that a run begins with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lisa.config import RECIPES, Config, DataConfig, ModelConfig, TrainConfig
from lisa.config.schema import NARROW_BOUND, WIDE_BOUND
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.face_parser import FaceParser
from lisa.models import build
from lisa.models.lisa import LISA
from lisa.run import checkpoint
from lisa.training.initial import start_network
from lisa.training.loop import fit
from lisa.world import World

TINY = ModelConfig(widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1), activation="gelu")


def begun_with(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> Config:
    """The config of a run whose network differs from that of its first weights."""
    trained, path = Config(model=replace(TINY, **before)), folder / "best.pt"
    checkpoint.save(checkpoint.payload(build(trained.model).state_dict(), trained, {}), path)
    return Config(model=replace(TINY, **now), train=TrainConfig(init=str(path)))


@pytest.mark.parametrize(
    ("name", "before", "now"),
    [
        ("activation", "gelu", "relu"),
        ("hamburger", "nmf", "bottleneck"),
        ("bound", 0.0, 8.0),
        ("bound", 256.0, 8.0),
    ],
)
def test_weights_of_another_function_are_told(tmp_path: Path, name: str, before: Any, now: Any):
    """Their names and shapes are the same."""
    config = begun_with(tmp_path, {name: before}, {name: now})
    assert start_network(config).warnings == [
        f"{config.train.init}: the weights were trained with model.{name} {before}; with {now} they may "
        "begin as nonsense"
    ]
    assert start_network(begun_with(tmp_path, {name: before}, {name: before})).warnings == []


@pytest.mark.parametrize(("before", "now"), [(8.0, 0.0), (8.0, 16.0), (0.0, WIDE_BOUND)])
def test_a_wider_bound_breaks_no_weights(tmp_path: Path, before: float, now: float):
    assert start_network(begun_with(tmp_path, {"bound": before}, {"bound": now})).warnings == []


@pytest.mark.parametrize(("before", "bound"), [(8.0, 8.0), (3.0, 3.0), (0.0, WIDE_BOUND)])
def test_weights_keep_the_bound_that_they_were_trained_with(tmp_path: Path, before: float, bound: float):
    config = begun_with(tmp_path, {"bound": before}, {"bound": "auto"})
    settled, network, notes, warnings = start_network(config)
    assert isinstance(network, LISA)
    assert (settled.model.bound, network.enc1[0].msca.bound) == (bound, bound)  # pyright: ignore
    assert (notes, warnings) == ([], [])
    resumed, network, *_ = start_network(config, before=settled)
    assert (resumed.model.bound, network.enc1[0].msca.bound) == (bound, bound)  # pyright: ignore


def test_a_run_without_a_bound_goes_on_without(tmp_path: Path):
    config = begun_with(tmp_path, {"bound": 0.0}, {"bound": "auto"})
    assert start_network(config, before=replace(config, model=replace(TINY, bound=0.0)))[0].model.bound == 0


def test_ranks_with_other_weights_are_refused(tmp_path: Path, make_faces: Callable[..., Path]):
    """Each would train another function, and only rank 0's bound be kept."""

    class Unlike(World):
        def all_gather(self, value: Any) -> list[Any]:
            return [value, 8.0] if value == WIDE_BOUND else [value]

    config = begun_with(tmp_path, {"bound": 0.0}, {"bound": "auto"})
    data = DataConfig(root=str(make_faces()), size=32, workers=0)
    with pytest.raises(InputError, match=r"ranks read other weights there \(trained .* 256.0, 8.0\)"):
        fit(replace(config, data=data, output=str(tmp_path / "run")), Unlike())
    assert not (tmp_path / "run/config.json").exists()


def test_random_weights_have_the_narrow_bound():
    config, network, *_ = start_network(Config(model=replace(TINY, bound="auto")))
    assert (config.model.bound, network.enc1[0].msca.bound) == (NARROW_BOUND, NARROW_BOUND)  # pyright: ignore


@pytest.mark.parametrize("recipe", ["best", "demo", "finder", "drawn"])
def test_a_recipe_begins_with_the_box_as_it_is(recipe: str):
    """Within the bound of random weights it is nonsense, and training would repair it first."""
    config = RECIPES[recipe]()
    network = start_network(replace(config, train=replace(config.train, init="drawn"))).network
    face = torch.from_numpy(draw_face(0, 96)[0].copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        begun, box = (
            FaceParser.for_prediction(each, 96)(face)
            for each in (network, checkpoint.load_network("drawn").network)
        )
    assert (begun == box).float().mean() > 0.999
    assert box.unique().numel() > 5
