"""The network that a run begins with."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lisa.config import RECIPES, Config, DataConfig, ModelConfig, TrainConfig
from lisa.data.faces import read_face
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.face_parser import FaceParser
from lisa.models import build
from lisa.run import checkpoint
from lisa.training.initial import start_network

TINY = ModelConfig(widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1), activation="gelu")


@pytest.fixture
def faces(make_faces: Callable[..., Path]) -> list[Pair]:
    return find_pairs(make_faces(train=4), "train")


def begun_with(
    folder: Path, before: dict[str, Any], now: dict[str, Any], network: nn.Module | None = None
) -> Config:
    """The config of a run whose network differs from that of its first weights."""
    trained, path = Config(model=replace(TINY, **before)), folder / "best.pt"
    weights = (network or build(trained.model)).state_dict()
    checkpoint.save(checkpoint.payload(weights, trained, {}), path)
    data, train = DataConfig(size=32), TrainConfig(init=str(path))
    return Config(data=data, model=replace(TINY, **now), train=train)


@pytest.mark.parametrize(
    ("name", "before", "now"), [("activation", "gelu", "relu"), ("hamburger", "nmf", "bottleneck")]
)
def test_weights_of_another_function_are_told(tmp_path: Path, name: str, before: Any, now: Any):
    """Their names and shapes are the same."""
    config = begun_with(tmp_path, {name: before}, {name: now})
    assert start_network(config).warnings == [
        f"{config.train.init}: the weights were trained with model.{name} {before}; with {now} they may "
        "begin as nonsense"
    ]
    assert start_network(begun_with(tmp_path, {name: before}, {name: before})).warnings == []


@pytest.mark.parametrize(("before", "now"), [(8.0, 0.0), (8.0, 16.0), (3.0, 3.0), (0.0, 0.0)])
def test_a_wider_bound_changes_no_weights(tmp_path: Path, faces: list[Pair], before: float, now: float):
    config = begun_with(tmp_path, {"bound": before}, {"bound": now})
    network, notes, warnings = start_network(config, faces)
    assert (notes, warnings) == ([], [])
    assert network.enc1[0].msca.bound == (now or math.inf)  # pyright: ignore
    for name, value in checkpoint.load(config.train.init)["weights"].items():
        assert torch.equal(network.state_dict()[name], value)


@pytest.mark.parametrize(("before", "told"), [(0.0, "without bounds"), (256.0, "within 256")])
def test_weights_are_rescaled_to_the_bound_of_the_run(
    tmp_path: Path, faces: list[Pair], before: float, told: str
):
    """They go on as the network that they were."""
    torch.manual_seed(0)
    grown = build(TINY).eval()
    grown.enc2[0].msca.mix.weight.data *= 600  # pyright: ignore
    config = begun_with(tmp_path, {"bound": before}, {"bound": 8.0}, grown)
    network, notes, warnings = start_network(config, faces)
    assert notes == [f"trained {told}; rescaled, so that model.bound = 8 does not cut them off"]
    assert (warnings, network.enc2[0].msca.bound) == ([], 8.0)  # pyright: ignore
    cut = start_network(config).network  # without faces: as they are
    face = read_face(faces[0], 32, 0).image[None]
    with torch.inference_mode():
        expected, ours, nonsense = (
            FaceParser.for_prediction(each, 32).logits(face) for each in (grown, network, cut)
        )
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)
    assert (nonsense - expected).abs().max() > 0.1


def test_weights_that_explode_on_every_face_are_refused(tmp_path: Path, faces: list[Pair]):
    """Where no picture is ordinary nothing tells how large the products should be."""
    broken = build(TINY)
    broken.final.bias.data[0] = torch.nan  # pyright: ignore
    config = begun_with(tmp_path, {}, {"bound": 8.0}, broken)
    with pytest.raises(InputError, match=r"on each of 4 training pictures.* give --model\.bound 0, or begin"):
        start_network(config, faces)


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
