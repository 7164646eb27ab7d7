"""Rates of each schedule, groups of the optimizer, and what a resumed run takes from its config."""

import dataclasses
import math
from typing import Literal

import pytest
import torch
from torch import nn

from lisa.config import OptimConfig, report
from lisa.errors import InputError
from lisa.models import build
from lisa.training.optim import Schedule, load_moments, make_optimizer

STEPS = 100


def rates(config: OptimConfig) -> list[float]:
    """The rate of each step of a run."""
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = Schedule(optimizer, config, STEPS)
    found: list[float] = []
    for step in range(STEPS):
        schedule.before_step(step)
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_the_rate_rises_linearly_and_falls_along_its_curve(name: str):
    found = rates(OptimConfig(lr=1.0, schedule=name, warmup=0.1, min_lr=0.0))  # pyright: ignore
    assert found[:10] == pytest.approx([1e-6 + (1 - 1e-6) * step / 10 for step in range(10)])
    curve = {
        "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
        "poly": lambda done: (1 - done) ** 0.9,
    }[name]
    assert found[10:] == pytest.approx([curve(step / STEPS) for step in range(10, STEPS)])


def test_plateau_divides_by_ten_after_five_epochs_without_gain():
    config = report().optim
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = Schedule(optimizer, config, STEPS)
    found: list[float] = []
    for loss in [1.0] * 8:
        schedule.after_epoch(loss)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([1e-3] * 6 + [1e-4] * 2)


def test_a_resumed_plateau_stays_lowered():
    config = report().optim
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = Schedule(optimizer, config, STEPS)
    for loss in [1.0] * 9:  # lowered after the seventh, two of the next six without gain have passed
        schedule.after_epoch(loss)
    saved = optimizer.state_dict(), schedule.state_dict()

    again = make_optimizer(nn.Linear(2, 2), config)
    resumed = Schedule(again, config, STEPS)
    load_moments(again, saved[0], as_low=True)
    resumed.load_state_dict(saved[1])
    assert again.param_groups[0]["lr"] == pytest.approx(1e-4)
    found: list[float] = []
    for loss in [1.0] * 4:
        resumed.after_epoch(loss)
        found.append(again.param_groups[0]["lr"])
    assert found == pytest.approx([1e-4, 1e-4, 1e-4, 1e-5])


def test_a_resumed_plateau_has_the_very_rate_that_it_had():
    """3e-4, lowered twice, is not 3e-4 times how far it was lowered."""
    config = dataclasses.replace(report().optim, lr=3e-4)
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    schedule = Schedule(optimizer, config, STEPS)
    for loss in [1.0] * 14:
        schedule.after_epoch(loss)
    again = make_optimizer(nn.Linear(2, 2), config)
    Schedule(again, config, STEPS)
    load_moments(again, optimizer.state_dict(), as_low=True)
    rate = optimizer.param_groups[0]["lr"]
    assert rate == pytest.approx(3e-6)
    assert again.param_groups[0]["lr"] == rate


def test_a_resumed_plateau_has_its_configs_lowest_rate():
    config = report().optim
    schedule = Schedule(make_optimizer(nn.Linear(2, 2), config), config, STEPS)
    higher = dataclasses.replace(config, min_lr=5e-4)
    optimizer = make_optimizer(nn.Linear(2, 2), higher)
    resumed = Schedule(optimizer, higher, STEPS)
    resumed.load_state_dict(schedule.state_dict())
    for loss in [1.0] * 8:
        resumed.after_epoch(loss)
    assert optimizer.param_groups[0]["lr"] == 5e-4


def test_a_resumed_run_has_its_configs_rate_and_weight_decay():
    first = OptimConfig(name="adam", lr=1e-3, weight_decay=1e-4, schedule="plateau")
    optimizer = make_optimizer(nn.Linear(2, 2), first)
    Schedule(optimizer, first, STEPS)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4  # plateau has lowered it once

    second = OptimConfig(name="adam", lr=5e-4, weight_decay=1e-2, schedule="plateau")
    resumed = make_optimizer(nn.Linear(2, 2), second)
    Schedule(resumed, second, STEPS)
    load_moments(resumed, optimizer.state_dict(), as_low=True)
    assert [group["lr"] for group in resumed.param_groups] == pytest.approx([5e-5, 5e-5])
    assert sorted(group["weight_decay"] for group in resumed.param_groups) == [0, 1e-2]


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
@pytest.mark.parametrize(("before", "after"), [(0.01, 0.0), (0.0, 0.01)])
def test_a_run_may_go_on_without_weight_decay_or_begin_with_it(
    name: Literal["adam", "adamw", "muon"], before: float, after: float
):
    begun = make_optimizer(nn.Linear(2, 2), OptimConfig(name=name, weight_decay=before))
    config = OptimConfig(name=name, weight_decay=after)
    resumed = make_optimizer(nn.Linear(2, 2), config)
    Schedule(resumed, config, STEPS)
    load_moments(resumed, begun.state_dict(), as_low=False)
    assert [group["weight_decay"] for group in resumed.param_groups] == [0.0, after]


def test_one_group_of_an_older_version_is_refused():
    config = OptimConfig()
    optimizer = make_optimizer(nn.Linear(2, 2), config)
    old = optimizer.state_dict()
    old["param_groups"] = [old["param_groups"][0]]
    with pytest.raises(InputError, match="began without weight decay"):
        load_moments(optimizer, old, as_low=False)


def test_plateau_after_cosine_has_its_configs_rate_and_not_where_cosine_stood():
    begun = OptimConfig(lr=2e-3)
    optimizer = make_optimizer(nn.Linear(2, 2), begun)
    Schedule(optimizer, begun, STEPS).before_step(1)  # in its warm-up
    config = OptimConfig(lr=2e-3, schedule="plateau")
    resumed = make_optimizer(nn.Linear(2, 2), config)
    Schedule(resumed, config, STEPS)
    load_moments(resumed, optimizer.state_dict(), as_low=False)
    assert [group["lr"] for group in resumed.param_groups] == [2e-3, 2e-3]


@pytest.mark.parametrize(("begun", "name", "expected"), [("adam", "adamw", 0.999), ("adamw", "adam", 0.99)])
def test_a_run_may_go_on_with_the_other_adam(
    begun: Literal["adam", "adamw"], name: Literal["adam", "adamw"], expected: float
):
    """AdamW's decay is a share of the weight itself, Adam's a part of the gradient, which it normalises."""
    layer = nn.Linear(1, 1)
    saved = make_optimizer(layer, OptimConfig(name=begun)).state_dict()
    config = OptimConfig(name=name, lr=1e-2, weight_decay=0.1)
    optimizer = make_optimizer(layer, config)
    Schedule(optimizer, config, STEPS)
    load_moments(optimizer, saved, as_low=False)
    for group in optimizer.param_groups:
        group["lr"] = config.lr
    with torch.no_grad():
        layer.weight.fill_(1)
    layer.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(expected)


def test_biases_norms_and_slopes_have_no_weight_decay():
    network = build(report().model)
    optimizer = make_optimizer(network, OptimConfig(weight_decay=0.1))
    decay = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    for name, parameter in network.named_parameters():
        assert decay[id(parameter)] == (0.1 if parameter.ndim > 1 else 0), name
    assert len(decay) == len(list(network.parameters()))
