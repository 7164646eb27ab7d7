"""Config: JSON round trip, refused values, the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lisa.config import RECIPES, Config, DataConfig, OptimConfig, TrainConfig, report
from lisa.config.command_line import parse_training
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
        (lambda: Config.from_dict({"optim": {"name": "sgd"}}), "optim.name = 'sgd': one of adam, adamw"),
        (lambda: Config.from_dict({"optim": 3}), "optim = 3: must be an object"),
        (lambda: Config.from_json("{"), "not JSON"),
    ],
)
def test_bad_values_name_field_and_value(make: Callable[[], object], message: str):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_command_line_takes_recipe_short_flags_and_paths():
    arguments = [
        "report",
        "--data",
        "faces",
        "--output",
        "runs/x",
        "--lr",
        "1e-4",
        "--epochs=3",
        "--loss.dice",
        "2",
    ]
    parsed = parse_training([*arguments, "--size", "64", "--batch-size", "8", "--resume"])
    config = parsed.config
    assert parsed.resume
    assert (config.data.root, config.output, config.data.size) == ("faces", "runs/x", 64)
    assert (config.optim.lr, config.train.epochs, config.train.batch_size) == (1e-4, 3, 8)
    assert (config.loss.dice, config.optim.name) == (2.0, "adam")


def test_command_line_takes_a_config_file(tmp_path: Path):
    path = tmp_path / "best.json"
    path.write_text(json.dumps({"optim": {"lr": 0.5}}))
    assert parse_training(["--config", str(path), "--epochs", "2"]).config.optim.lr == 0.5
    with pytest.raises(InputError, match=r"no\.json: No such file"):
        parse_training(["--config", str(tmp_path / "no.json")])
    with pytest.raises(InputError, match="no recipe 'bst'"):
        parse_training(["bst"])
