"""Limits: one rule for the check, its message and --help."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import pytest

from lisa.config import AugmentConfig, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.config.command_line import parse_training
from lisa.config.limits import Limited, Range, ranges
from lisa.errors import InputError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("limit", "inside", "outside", "rule"),
    [
        (Range(0, 180, "degrees"), (0, 180), (-1e-9, 181, NAN, INF), "0 to 180 degrees"),
        (Range(0, 1, open_high=True), (0, 0.99), (1, -1), "0 to below 1"),
        (Range(0, 1, open_low=True), (0.01, 1), (0, 1.1), "above 0 to 1"),
        (Range(0, open_low=True), (1e-9, 1e9), (0, -1, INF, NAN), "above 0"),
        (Range(16, unit="pixels"), (16, 10**6), (15,), "at least 16 pixels"),
        (Range(0), (0, 1e9), (-1e-9, INF), "at least 0"),
    ],
)
def test_a_range_tells_what_is_in_it(
    limit: Range, inside: tuple[float, ...], outside: tuple[float, ...], rule: str
):
    assert all(value in limit for value in inside)
    assert not any(value in limit for value in outside)
    assert str(limit) == rule


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AugmentConfig(rotation=181), "augment.rotation = 181: 0 to 180 degrees"),
        (lambda: AugmentConfig(hue=0.6), "augment.hue = 0.6: 0 to 0.5 of a turn"),
        (lambda: AugmentConfig(noise=1.0), "augment.noise = 1.0: 0 to below 1"),
        (
            lambda: ModelConfig(depths=(1, 2, 0, 3, 1)),
            "model.depths = (1, 2, 0, 3, 1): at least 1 block each",
        ),
        (lambda: ModelConfig(max_parameters=0), "model.max_parameters = 0: above 0"),
        (lambda: LossConfig(dice=NAN), "loss.dice = nan: at least 0"),
        (lambda: LossConfig(cross_entropy=0, dice=0), "loss = 'all weights 0': one must be above 0"),
        (lambda: OptimConfig(lr=1e-3, min_lr=1e-2), "optim.min_lr = 0.01: 0 to optim.lr"),
        (lambda: TrainConfig(seed=2**31), "train.seed = 2147483648: 0 to 2147483647"),
    ],
)
def test_what_is_out_of_range_is_named_with_its_rule(make: Callable[[], object], message: str):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message


def test_every_number_of_the_config_has_a_limit():
    for kind in (DataConfig, ModelConfig, AugmentConfig, LossConfig, OptimConfig, TrainConfig):
        numbers = {field.name for field in dataclasses.fields(kind) if _is_number(field.default)}
        assert numbers == set(ranges(kind)), kind.section


def _is_number(default: object) -> bool:
    return isinstance(default, int | float | tuple) and not isinstance(default, bool)


def test_a_commands_own_options_are_named_as_flags():
    @dataclass(frozen=True)
    class Options(Limited):
        trial_epochs: Annotated[int | None, Range(1)] = None

    assert Options().trial_epochs is None
    with pytest.raises(InputError, match=r"^--trial-epochs 0: at least 1$"):
        Options(trial_epochs=0)


def test_help_shows_the_limits(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse_training(["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(0 to 180 degrees; default: 15" in shown
    assert "(above 0; default: 0.004)" in shown
    assert "--lr FLOAT, --optim.lr FLOAT" in shown
