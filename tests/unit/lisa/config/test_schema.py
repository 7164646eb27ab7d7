"""Config: JSON round trip, refused values."""

from collections.abc import Callable

import pytest

from lisa.config import RECIPES, Config, DataConfig, OptimConfig, TrainConfig, report
from lisa.errors import InputError


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_survive_json(name: str):
    config = RECIPES[name]()
    assert Config.from_json(config.to_json()) == config


def test_report_recipe_is_the_reports():
    config = report()
    assert (config.optim.name, config.optim.lr, config.optim.schedule) == ("adam", 1e-3, "plateau")
    assert (config.optim.weight_decay, config.optim.ema_decay, config.optim.clip_norm) == (1e-4, 0, 0)
    assert (config.train.batch_size, config.train.epochs, config.train.patience) == (40, 100, 20)
    assert config.train.views == 30_000 / 5_000
    loss, augment = config.loss, config.augment
    assert (loss.cross_entropy, loss.dice, loss.lovasz, loss.focal, loss.class_balance) == (1, 1, 0, 0, 0)
    assert (augment.flip, augment.rotation) == (0.5, 10)
    jitter = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    assert jitter == (0.2, 0.2, 0.2, 0.1)
    others = ("scale", "shift", "crop", "blur", "noise", "jpeg", "erase", "mixup", "cutmix", "paste")
    assert {getattr(augment, name) for name in others} == {0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DataConfig(size=8), "data.size = 8: at least 16"),
        (lambda: OptimConfig(lr=-1.0), "optim.lr = -1.0: above 0"),
        (lambda: TrainConfig(batch_size=0), "train.batch_size = 0: at least 1"),
        (lambda: Config.from_dict({"optim": {"lr": "fast"}}), "optim.lr = 'fast': must be of type float"),
        (lambda: Config.from_dict({"optim": {"rate": 1}}), "optim.rate is no field"),
        (lambda: Config.from_dict({"optim": {"section": "x"}}), "optim.section is no field"),
        (lambda: Config.from_dict({"optim": {"name": "sgd"}}), "optim.name = 'sgd': one of adam, adamw"),
        (lambda: Config.from_dict({"optim": 3}), "optim = 3: must be an object"),
        (lambda: Config.from_json("{"), "not JSON"),
    ],
)
def test_bad_values_name_field_and_value(make: Callable[[], object], message: str):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
