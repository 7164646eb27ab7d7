"""What two ranks compute of one batch, for tests: ``torchrun -m equality_worker OUTPUT``."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from distributed.exit import finish
from distributed.world import open_world
from lisa.config import Config, DataConfig, LossConfig, ModelConfig, TrainConfig
from lisa.console import RunLog
from lisa.data.faces import EpochBatches
from lisa.models import build
from lisa.state import TrainState
from lisa.trainer import Trainer
from lisa.world import World

BATCH = 8


def gradients(world: World) -> dict[str, Tensor]:
    """The gradients of a batch of eight, in float64, BatchNorm on fixed statistics; each rank its share."""
    # Dice and Lovasz are of a whole batch, which no rank has: means over pictures are what DDP can average.
    config = Config(
        data=DataConfig(size=32),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        loss=LossConfig(dice=0),
        train=TrainConfig(batch_size=BATCH),
    )
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build(config.model).double()
    batches = EpochBatches(BATCH, BATCH, 0, world.rank, world.size)
    state = TrainState(network, config, batches.steps)
    trainer = Trainer(config, world, state, [], batches, torch.ones(19), RunLog(Path(), active=False))
    trainer.network.eval()
    trainer.normalise = lambda pictures: pictures  # pyright: ignore[reportAttributeAccessIssue]
    images = torch.rand(BATCH, 3, 32, 32, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 19, (BATCH, 32, 32), generator=generator, dtype=torch.uint8)
    own = torch.arange(BATCH).chunk(world.size)[world.rank]
    trainer._backward(images[own], [(masks[own], 1.0)])  # pyright: ignore[reportPrivateUsage]
    return {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


def statistics(world: World) -> dict[str, Tensor]:
    """BatchNorm's running statistics after a forward pass of eight pictures in train mode, on a GPU."""
    torch.manual_seed(0)
    network = build(ModelConfig(widths=(4, 8, 12, 16, 24))).to(world.device)
    wrapped = world.wrap(network, BATCH // world.size)
    images = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wrapped(images.chunk(world.size)[world.rank].to(world.device))
    return {name: buffer.cpu() for name, buffer in wrapped.state_dict().items() if "running" in name}


def main() -> int:
    with open_world() as world:
        found = {
            "gradients": gradients(world) if world.device.type == "cpu" else {},
            "statistics": statistics(world) if world.device.type == "cuda" else {},
        }
        if world.is_main:
            torch.save(found, sys.argv[1])
    return 0


if __name__ == "__main__":
    finish(main)
