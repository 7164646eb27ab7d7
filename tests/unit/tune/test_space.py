"""Every point of the space is a config under the cap; the search begins at the recipe."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from lisa.config import RECIPES, Config, ModelConfig, TrainConfig
from lisa.config.parameter_count import count_lisa
from lisa.errors import InputError
from lisa.models import LISA, count_parameters
from tune.plots import distributions
from tune.space import Interval, Point, Space

CAP = 2_000_000


def drawn(space: Space, draw: random.Random) -> Point:
    """A uniform point; each value is an end of its interval one time in ten."""
    point: dict[str, float] = {}
    for name, interval in space.ranges().items():
        if draw.random() < 0.1:
            point[name] = draw.choice([interval.low, interval.high])
        elif interval.integer:
            point[name] = draw.randint(int(interval.low), int(interval.high))
        else:
            point[name] = draw.uniform(interval.low, interval.high)
    return point


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("architecture", [False, True])
def test_the_search_begins_at_the_recipe(name: str, architecture: bool):
    base = RECIPES[name]()
    space = Space(base, architecture)
    assert space.config(space.start()) == base
    assert set(space.start()) == set(space.ranges()) == set(distributions(space))


@pytest.mark.slow
def test_a_thousand_points_are_under_the_cap_and_counted_exactly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)  # shapes are enough here
    space, draw = Space(RECIPES["best"](), architecture=True), random.Random(0)
    smallest, largest = CAP, 0
    for _ in range(1000):
        model = space.config(drawn(space, draw)).model
        with torch.device("meta"):
            network = LISA(widths=model.widths, depths=model.depths, hamburger_ratio=model.hamburger_ratio)
        count = count_parameters(network)
        assert count == count_lisa(model.widths, model.depths, model.hamburger_ratio)
        assert count < CAP
        smallest, largest = min(smallest, count), max(largest, count)
    assert smallest < 0.3 * CAP  # the space is wide, and reaches the cap
    assert largest > 0.99 * CAP


def test_a_share_of_the_cap_is_filled():
    """The next larger network of the same growth does not fit any more."""
    space, draw = Space(RECIPES["best"](), architecture=True), random.Random(1)
    for _ in range(50):
        point = {**drawn(space, draw), "shape.share": 1.0}
        model = space.config(point).model
        wider = tuple(width + 1 for width in model.widths)
        assert count_lisa(wider, model.depths, model.hamburger_ratio) >= CAP - 1


def test_all_points_of_an_auxiliary_recipe_fit_too():
    base = Config(model=ModelConfig(auxiliary=True, widths=(16, 32, 64, 128, 256), activation="relu"))
    space, draw = Space(base, architecture=True), random.Random(2)
    for _ in range(50):
        model = space.config(drawn(space, draw)).model  # ModelConfig refuses what is over the cap
        assert model.auxiliary


def test_strength_multiplies_the_augmentation_within_its_limits():
    space = Space(RECIPES["best"]())
    strong = space.config({**space.start(), "augment.strength": 2}).augment
    assert (strong.rotation, strong.paste, strong.hue, strong.flip) == (30, 1.0, 0.1, 0.5)
    none = space.config({**space.start(), "augment.strength": 0}).augment
    assert (none.rotation, none.paste, none.brightness, none.flip) == (0, 0, 0, 0.5)


def test_ranges_grow_to_hold_the_recipes_value():
    base = RECIPES["best"]()
    wide = Space(replace(base, loss=replace(base.loss, dice=5.0)))
    assert wide.ranges()["loss.dice"] == Interval(0, 5.0)
    undecayed = Space(replace(base, optim=replace(base.optim, weight_decay=0.0)))
    assert undecayed.start()["optim.weight_decay"] == 1e-5


def test_the_rate_may_fall_below_the_recipes_smallest():
    space = Space(RECIPES["best"]())
    assert space.config({**space.start(), "optim.lr": 1e-6}).optim.min_lr == 1e-6


def test_only_lisa_has_a_shape_to_search():
    unet = Config(model=ModelConfig(name="unet"), train=TrainConfig(epochs=1))
    assert Space(unet).config(Space(unet).start()) == unet
    with pytest.raises(InputError, match="the network is unet"):
        Space(unet, architecture=True)
