"""No step makes the host wait for the device: counted on the CPU, over each recipe and option."""

from dataclasses import replace

import pytest
import torch
from sync_helpers import HostSyncs

from lisa.config import RECIPES, AugmentConfig, Config, ModelConfig, TrainConfig
from lisa.models import build
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.world import World

NARROW = ModelConfig(widths=(4, 8, 12, 16, 24))
PICTURES = 4


def configs() -> dict[str, Config]:
    best = RECIPES["best"]()
    everything = AugmentConfig(scale=0.2, shift=0.1, blur=1.0, noise=0.05, paste=1.0)
    return {
        **{name: recipe() for name, recipe in RECIPES.items()},
        "all augmentation but JPEG": replace(best, augment=everything),
        "in parts": replace(best, train=TrainConfig(accumulate=2, batch_size=PICTURES)),
        "clipped": replace(best, optim=replace(best.optim, clip_norm=0.01)),
        "without average": replace(best, optim=replace(best.optim, ema_decay=0)),
        "bf16": replace(best, train=TrainConfig(precision="bf16")),
    }


@pytest.mark.parametrize("name", configs())
def test_a_step_reads_nothing_from_the_device(name: str):
    config = configs()[name]
    config = replace(config, model=NARROW, data=replace(config.data, size=32))
    torch.manual_seed(0)
    network = build(config.model)
    state = TrainState(network, config, 10, World())
    step = Step(config, World(), state)
    step.parts = config.train.accumulate
    images = torch.randint(0, 256, (PICTURES, 3, 32, 32), dtype=torch.uint8)
    masks = torch.randint(0, 19, (PICTURES, 32, 32), dtype=torch.uint8)
    step.wrapped.train()
    for number in range(3):  # the first ones make what later ones have: moments, schedules, an average
        state.batch = number
        on_device = [images, masks, *network.parameters(), *network.buffers(), *state.averaged.parameters()]
        on_device += [*state.averaged.buffers(), *step.augment.buffers()]
        on_device += [state.skipped, state.skipped_in_a_row, state.loss_sum, state.loss_pictures]
        with HostSyncs(on_device) as syncs:
            loss = step(images, masks, PICTURES)
            state.count_step(loss, PICTURES)
        assert syncs.found == []
        with HostSyncs(on_device) as syncs:
            step.require_progress()  # at an epoch's end the host waits: the count of it works
        assert len(syncs.found) == 1
