"""Every point of the space is a config under the cap; the search begins at the recipe."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lisa.config import RECIPES, Config, ModelConfig, TrainConfig
from lisa.config.parameter_count import count_lisa
from lisa.errors import InputError
from lisa.labels.label_set import Label, LabelSet
from lisa.models import LISA, count_parameters
from tune.plots import distributions
from tune.space import Interval, Point, Space

CAP = 2_000_000


def points(space: Space) -> st.SearchStrategy[Point]:
    """Any point; hypothesis tries the ends of the intervals too."""
    each = {
        name: st.integers(int(interval.low), int(interval.high))
        if interval.integer
        else st.floats(interval.low, interval.high, allow_subnormal=False)
        for name, interval in space.ranges().items()
    }
    return st.fixed_dictionaries(each)


SHAPES = Space(RECIPES["best"](), architecture=True)
FOLDED = Space(replace(RECIPES["best"](), model=ModelConfig(name="lisa_fold4")), architecture=True)


def test_amounts_beyond_the_searchs_own_end_stay_in_its_first_point():
    base = RECIPES["best"]()
    base = replace(base, augment=replace(base.augment, brightness=0.95))
    space = Space(base)
    assert space.config(space.start()).augment == base.augment


@pytest.mark.parametrize("name", list(RECIPES))
@pytest.mark.parametrize("architecture", [False, True])
def test_the_search_begins_at_the_recipe(name: str, architecture: bool):
    """Of another shape only without weights to begin with, which demo has."""
    base = RECIPES[name]()
    base = replace(base, train=replace(base.train, init="" if architecture else base.train.init))
    space = Space(base, architecture)
    assert space.config(space.start()) == base
    assert set(space.start()) == set(space.ranges()) == set(distributions(space))


@settings(max_examples=20)
@given(points(SHAPES))
def test_every_point_is_under_the_cap_and_counted_exactly(point: Point):
    model = SHAPES.config(point).model
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Conv2d, "reset_parameters", lambda self: None)  # shapes are enough here
        network = LISA(widths=model.widths, depths=model.depths, hamburger_ratio=model.hamburger_ratio)
    count = count_parameters(network)
    assert count == count_lisa(model.widths, model.depths, model.hamburger_ratio)
    assert count < CAP


@given(points(FOLDED))
def test_the_folded_networks_shape_is_searched_as_well(point: Point):
    model = FOLDED.config(point).model
    assert model.name == "lisa_fold4"
    assert model.count(19) < CAP
    assert FOLDED.config(FOLDED.start()) == FOLDED.base


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 1.0])
def test_the_cap_counts_the_classifier_of_the_runs_own_labels(share: float):
    """64 labels have 1,485 parameters more than 19."""
    many = LabelSet("many", tuple(Label(f"a{number}", (number, 0, 0)) for number in range(64)))
    base = replace(RECIPES["best"](), model=ModelConfig(max_parameters=2_100_000), labels=many)
    space = Space(base, architecture=True)
    assert space.config(space.start()) == base
    model = space.config({**space.start(), "shape.share": share}).model
    assert 0.99 * share < model.count(64) / 2_099_999 <= share


@given(points(SHAPES))
def test_a_share_of_the_cap_is_filled(point: Point):
    """The next larger network of the same growth does not fit any more."""
    model = SHAPES.config({**point, "shape.share": 1.0}).model
    wider = tuple(width + 1 for width in model.widths)
    assert count_lisa(wider, model.depths, model.hamburger_ratio) >= CAP - 1


def test_the_space_is_wide_and_reaches_the_cap():
    def count(share: float) -> int:
        model = SHAPES.config({**SHAPES.start(), "shape.share": share}).model
        return count_lisa(model.widths, model.depths, model.hamburger_ratio)

    assert count(0.25) < 0.3 * CAP
    assert count(1.0) > 0.99 * CAP


def test_strength_multiplies_the_augmentation_within_its_limits():
    space = Space(RECIPES["best"]())
    strong = space.config({**space.start(), "augment.strength": 2}).augment
    assert (strong.rotation, strong.paste, strong.hue, strong.flip) == (30, 1.0, 0.1, 0.5)
    none = space.config({**space.start(), "augment.strength": 0}).augment
    assert (none.rotation, none.paste, none.brightness, none.flip) == (0, 0, 0, 0.5)


def test_strength_blurs_no_more_than_the_pictures_size_allows():
    base = RECIPES["best"]()
    base = replace(base, data=replace(base.data, size=16), augment=replace(base.augment, blur=5.0))
    space = Space(base)
    assert space.config({**space.start(), "augment.strength": 2}).augment.blur == 7.5


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


def test_weights_of_one_shape_serve_no_search_for_others():
    """Every trial but the first would fail, and the search end with the recipe as its winner."""
    base = RECIPES["best"]()
    begun = replace(base, train=replace(base.train, init="drawn"))
    assert Space(begun).config(Space(begun).start()) == begun
    with pytest.raises(InputError, match="--init drawn: weights of one shape"):
        Space(begun, architecture=True)
