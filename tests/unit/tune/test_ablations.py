"""The report's tables: each row is what its name says, whatever the recipe has beside the report's."""

from dataclasses import asdict

import pytest

from lisa.config import RECIPES
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
