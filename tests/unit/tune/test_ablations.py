"""The report's tables: each row is what its name says, whatever the recipe has beside the report's."""

from dataclasses import asdict, replace

import pytest

from lisa.config import RECIPES
from lisa.config.shapes import DEPTHS, SHAPES
from lisa.errors import InputError
from tune.ablations import TABLES, Ablation


@pytest.mark.parametrize("recipe", ["report", "best"])
def test_rows_have_what_their_names_say(recipe: str):
    losses, views = (Ablation(RECIPES[recipe](), table) for table in (4, 3))
    terms = [losses.config({"row": row, "seed": 3}).loss for row in range(3)]
    assert [(loss.cross_entropy > 0, loss.dice > 0, loss.lovasz) for loss in terms] == [
        (False, True, 0),
        (True, False, 0),
        (True, True, 0),
    ]
    changes = [asdict(views.config({"row": row, "seed": 3}).augment) for row in range(4)]
    jitter = {"brightness", "contrast", "saturation", "hue"}
    assert [{name for name, amount in each.items() if amount} for each in changes] == [
        set(),
        {"flip"},
        {"flip", "rotation"},
        {"flip", "rotation"} | jitter,
    ]


@pytest.mark.parametrize("table", [2, 5])
def test_rows_of_networks_keep_the_recipes_augmentation_and_loss(table: int):
    base = RECIPES["best"]()
    for row in range(len(TABLES[table][1])):
        config = Ablation(base, table).config({"row": row, "seed": 0})
        assert config.augment == base.augment
        assert config.loss == base.loss


def test_rows_name_their_network_and_activation_whatever_the_recipe_has():
    base = RECIPES["report"]()
    base = replace(base, model=replace(base.model, name="lisa_fold4", activation="gelu"))
    models = [
        [Ablation(base, table).config({"row": row, "seed": 0}).model for row in range(3)] for table in (2, 5)
    ]
    assert [model.name for model in models[0]] == ["unet", "segnext", "lisa"]
    assert (models[0][2].widths, models[0][2].depths) == (SHAPES["lisa"].widths, DEPTHS)
    assert [model.activation for model in models[1]] == ["relu", "gelu", "prelu"]


@pytest.mark.parametrize(
    ("table", "section", "zero", "told"),
    [
        (3, "augment", {"flip": 0.0}, "augment.flip"),
        (3, "augment", {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}, "colour jitter"),
        (4, "loss", {"dice": 0.0}, "loss.dice"),
    ],
)
def test_a_recipe_without_what_a_row_names_is_refused(
    table: int, section: str, zero: dict[str, float], told: str
):
    base = RECIPES["report"]()
    base = replace(base, **{section: replace(getattr(base, section), **zero)})
    with pytest.raises(InputError, match=f"table {table} has rows with {told}, which the recipe sets to 0"):
        Ablation(base, table)


def test_networks_without_activations_have_no_table_5():
    base = RECIPES["report"]()
    with pytest.raises(InputError, match="LISA's activations, which unet has not"):
        Ablation(replace(base, model=replace(base.model, name="unet")), 5)


def test_a_network_without_a_bound_has_no_table_2():
    """Its config has bound 0: LISA's row would lose the recipe's."""
    base = RECIPES["best"]()
    assert Ablation(base, 2).config({"row": 2, "seed": 0}).model.bound == 8.0
    with pytest.raises(InputError, match=r"rows name the network: leave out --model\.name unet"):
        Ablation(replace(base, model=replace(base.model, name="unet")), 2)


def test_weights_of_one_network_begin_no_rows_of_several():
    base = RECIPES["report"]()
    begun = replace(base, train=replace(base.train, init="drawn"))
    for table in (3, 4):
        assert Ablation(begun, table).config({"row": 0, "seed": 0}).train.init == "drawn"
    for table in (2, 5):
        with pytest.raises(InputError, match="--init drawn: weights of one network"):
            Ablation(begun, table)
