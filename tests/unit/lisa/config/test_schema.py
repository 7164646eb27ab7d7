"""Config: JSON round trip, refused values."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lisa.config import (
    RECIPES,
    AugmentConfig,
    Config,
    DataConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
    report,
)
from lisa.config.command_line import parse_training
from lisa.config.from_plain import GONE
from lisa.config.shapes import DEPTHS, SHAPES
from lisa.errors import InputError
from lisa.labels import Label, LabelSet, read_label_set


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, most of them within its limits."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    simple = {
        bool: st.booleans(),
        int: st.integers(0, 300),
        float: st.floats(0, 1, allow_subnormal=False),
        str: st.one_of(st.text(), st.just("3steps"), st.just("lisa")),
    }
    return simple[kind] if kind in simple else st.tuples(*[st.integers(1, 40)] * 5)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """A recipe with up to five changed fields."""
    config = RECIPES[draw(st.sampled_from(list(RECIPES)))]()
    for _ in range(draw(st.integers(0, 5))):
        name = draw(
            st.sampled_from(
                [field.name for field in fields(Config) if field.name not in ("output", "labels")]
            )
        )
        section = getattr(config, name)
        kinds = get_type_hints(type(section))
        changed = draw(st.sampled_from([field.name for field in fields(section)]))
        with contextlib.suppress(InputError):  # what may not be written need not be read
            section = replace(section, **{changed: draw(values(kinds[changed]))})
            config = replace(config, **{name: section})
    return replace(config, output=draw(st.text()))


@given(configs())
def test_a_config_survives_json(config: Config):
    assert Config.from_json(config.to_json()) == config


def test_report_recipe_is_the_reports():
    config = report()
    assert (config.optim.name, config.optim.lr, config.optim.schedule) == ("adam", 1e-3, "plateau")
    assert (config.optim.weight_decay, config.optim.ema_decay, config.optim.clip_norm) == (1e-4, 0, 0)
    assert (config.train.batch_size, config.train.epochs, config.train.patience) == (40, 100, 20)
    assert config.train.views == 30_000 / 5_000
    loss, augment = config.loss, config.augment
    assert (loss.cross_entropy, loss.dice, loss.lovasz) == (1, 1, 0)
    assert (augment.flip, augment.rotation) == (0.5, 10)
    jitter = (augment.brightness, augment.contrast, augment.saturation, augment.hue)
    assert jitter == (0.2, 0.2, 0.2, 0.1)
    others = ("scale", "shift", "blur", "noise", "jpeg", "paste")
    assert {getattr(augment, name) for name in others} == {0}


def test_options_that_are_gone_are_read_where_they_were_off():
    """Configs written by earlier versions hold them all."""
    written = json.loads(Config().to_json())
    for name, value in GONE.items():
        section, _, field = name.partition(".")
        written[section][field] = 3.0 if value is None else value
    assert Config.from_dict(written) == Config()
    message = r"loss\.focal = 1\.0: this option is gone \(docs/results\.md\): leave it out"
    with pytest.raises(InputError, match=message):
        Config.from_dict({"loss": {"focal": 1.0}})


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
        (lambda: Config.from_dict({"model": {"bound": True}}), "model.bound = True: must be of type float"),
        (lambda: AugmentConfig(flip="x"), "augment.flip = 'x': must be of type float"),  # pyright: ignore
        (lambda: OptimConfig(name="sgd"), "optim.name = 'sgd': one of adam, adamw"),  # pyright: ignore
        (lambda: TrainConfig(patience=1e9), "train.patience = 1000000000.0: must be"),  # pyright: ignore
        (lambda: OptimConfig(lr=np.float64(1)), "optim.lr = np.float64(1.0): must be of type float"),
        (lambda: TrainConfig(seed=True), "train.seed = True: must be of type int"),
        (lambda: TrainConfig(checkpoint_every=9), "train.checkpoint_every = 9: must be"),  # pyright: ignore
        (lambda: DataConfig(root=Path("x")), "data.root = PosixPath('x'): must be"),  # pyright: ignore
        (lambda: DataConfig(size=None), "data.size = None: must be of type int"),  # pyright: ignore
        (lambda: ModelConfig(widths=[2] * 5), "[2, 2, 2, 2, 2]: a tuple of 5 ints"),  # pyright: ignore
        (lambda: Config.from_dict({"model": {"depths": [1, 2]}}), "depths = (1, 2): a tuple of 5 ints"),
        (lambda: Config(data="faces"), "data = 'faces': must be of type DataConfig"),  # pyright: ignore
        (lambda: Config(output=Path("x")), "output = PosixPath('x'): must be"),  # pyright: ignore
        (lambda: Config(labels="caps.json"), "labels = 'caps.json': a LabelSet"),  # pyright: ignore
        (lambda: ModelConfig(bound=-1), "model.bound = -1: at least 0"),
        (lambda: Config.from_dict({"optim": 3}), "optim = 3: must be an object"),
        (lambda: Config.from_json("{"), "not JSON"),
        (lambda: Config.from_json('{"optim": {"lr": 1}, "optim": {}}'), "config: 'optim' comes twice"),
        (
            lambda: Config.from_dict({"data": {"size": 16}, "augment": {"blur": 8.0}}),
            "augment.blur = 8.0: below half of data.size",
        ),
    ],
)
def test_bad_values_name_field_and_value(make: Callable[[], object], message: str):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_the_label_set_travels_in_full(tmp_path: Path):
    lapa = read_label_set("lapa")
    (tmp_path / "mine.toml").write_text(lapa.to_toml().replace('"lapa"', '"mine"'))
    own = [f"--labels={tmp_path}/mine.toml"]
    for words, name in ((["--labels", "lapa"], "lapa"), (own, "mine"), ([], "celebamask")):
        config = parse_training(["demo", *words]).config
        assert config.labels.name == name
        written = json.loads(config.to_json())
        assert written["labels"]["labels"][0]["name"] == "background"
        assert Config.from_dict(written) == config
    del written["labels"]  # written before label sets were
    assert Config.from_dict(written) == config
    assert Config.from_dict({"labels": "lapa"}).labels == lapa
    with pytest.raises(InputError, match="labels = 3: a built-in set's name, or a label set"):
        Config.from_dict({"labels": 3})


def test_the_cap_counts_the_real_head():
    many = LabelSet("many", tuple(Label(f"a{index}", (index, 0, 0)) for index in range(64)))
    with pytest.raises(InputError, match=r"2,001,036 trainable parameters"):
        Config(labels=many)
    assert len(Config(labels=read_label_set("lapa")).labels) == 11


@pytest.mark.parametrize("name", list(SHAPES))
@pytest.mark.parametrize("before", ["lisa", "lisa_fold4", "unet"])
@pytest.mark.parametrize("depths", [DEPTHS, (1, 1, 1, 1, 1)])
def test_another_networks_own_widths_are_not_taken_over(before: str, name: str, depths: Any):
    """A written config holds the widths of the network that it was made for."""
    written = {"model": {**asdict(ModelConfig(name=before, depths=depths)), "name": name}}
    through = Config.from_dict(written).model
    assert (through.widths, through.depths) == (SHAPES[name].widths, depths)
    changed = (4, 8, 12, 16, 24)
    assert replace(ModelConfig(name=before, widths=changed), name=name).widths == changed
