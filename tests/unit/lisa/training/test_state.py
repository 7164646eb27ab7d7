"""What an epoch sums up, and what a checkpoint keeps of it."""

import math

import pytest
import torch
from timm.utils import ModelEmaV3

from lisa.config import Config, ModelConfig
from lisa.models import build
from lisa.training.state import TrainState
from lisa.world import World

MODEL = ModelConfig(widths=(4, 8, 12, 16, 24))


def state() -> TrainState:
    return TrainState(build(MODEL), Config(model=MODEL), 10, World())


@pytest.mark.parametrize("skipped", [math.nan, math.inf])
def test_a_step_without_a_finite_loss_is_not_in_the_mean(skipped: float):
    epoch = state()
    for loss in (2.0, skipped, 4.0):
        epoch.count_step(torch.tensor(loss), 8)
    assert (float(epoch.loss_sum), float(epoch.loss_pictures), epoch.batch) == (48.0, 16.0, 3)
    again = state()
    again.load_state_dict(epoch.state_dict(World()), "last.pt", World())
    assert (float(again.loss_sum), float(again.loss_pictures)) == (48.0, 16.0)
    again.end_epoch(0.5)
    assert (float(again.loss_sum), float(again.loss_pictures)) == (0.0, 0.0)


def test_the_average_is_timms():
    """With its warm-up, and of statistics too; a step that is not taken moves nothing."""
    ours = state()
    theirs = ModelEmaV3(ours.network, decay=Config().optim.ema_decay, use_warmup=True)
    tensors = [*ours.network.parameters(), *(each for each in ours.network.buffers() if each.ndim)]
    for number in range(5):
        with torch.no_grad():
            for tensor in tensors:
                tensor += torch.rand_like(tensor)
        ours.batch = number
        ours.average_weights(torch.tensor(number != 3))
        if number != 3:
            theirs.update(ours.network, number)
    for (name, found), expected in zip(
        ours.averaged.state_dict().items(), theirs.module.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, msg=name)


@pytest.mark.parametrize(("rank", "expected"), [(0, (12.0, 4.0)), (1, (0.0, 0.0))])
def test_the_sums_of_another_number_of_ranks_are_counted_once(rank: int, expected: tuple[float, float]):
    saved = {**state().state_dict(World()), "loss_sums": [3.0, 4.0, 5.0], "loss_pictures": [1.0, 1.0, 2.0]}
    again = state()
    again.load_state_dict(saved, "last.pt", World(rank=rank, world_size=2))
    assert (float(again.loss_sum), float(again.loss_pictures)) == expected
