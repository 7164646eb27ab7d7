"""What two ranks compute of one batch, for tests: ``-m equality_worker OUTPUT``."""

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from distributed.exit import finish
from distributed.world import open_world
from lisa.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.data.epoch_batches import EpochBatches
from lisa.models import build
from lisa.training import muon
from lisa.training.optim import make_optimizer
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.world import World

BATCH = 8
DTYPES = ("float32", "bfloat16")
UNEVEN = 7
"""Pictures of a batch of which two ranks have four and three."""


def gradients(world: World, pictures: int = BATCH, accumulate: int = 1) -> dict[str, Tensor]:
    """The gradients of a batch, in float64, BatchNorm on fixed statistics; each rank its share.

    Beside them "exchanged", the numbers that a rank exchanged for them.
    """
    # Dice and Lovasz are of a whole batch, which no rank has: means over pictures are what DDP can average.
    config = Config(
        data=DataConfig(size=32),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        loss=LossConfig(dice=0),
        train=TrainConfig(batch_size=pictures, accumulate=accumulate),
    )
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = build(config.model).double()
    batches = EpochBatches(pictures, pictures, 0, world.rank, world.world_size)
    state = TrainState(network, config, batches.steps, world)
    step = Step(config, world, state)
    step.parts = accumulate
    step.join_ranks(pictures // world.world_size)
    step.wrapped.eval()
    exchanged: list[int] = []
    if isinstance(step.wrapped, DistributedDataParallel):

        def counted(state: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
            exchanged.append(bucket.buffer().numel())
            return allreduce_hook(None, bucket)  # pyright: ignore[reportArgumentType]

        step.wrapped.register_comm_hook(None, counted)
    step.passes.normalise = lambda pictures: pictures  # pyright: ignore[reportAttributeAccessIssue]
    images = torch.rand(pictures, 3, 32, 32, generator=generator, dtype=torch.float64)
    masks = torch.randint(0, 19, (pictures, 32, 32), generator=generator, dtype=torch.uint8)
    own = torch.arange(pictures).tensor_split(world.world_size)[world.rank]
    step._gradient(images[own], masks[own], pictures, 0.0)  # pyright: ignore[reportPrivateUsage]
    found = {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
    return {**found, "exchanged": torch.tensor(sum(exchanged))}


def moved(world: World, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights after two of Muon's steps with the same gradients on all ranks, which all have the same.

    Each rank computes directions that are off by its number, as machines of several makes would.
    """
    torch.manual_seed(0)
    network = build(ModelConfig(widths=(4, 8, 12, 16, 24)))
    optimizer = make_optimizer(network, OptimConfig(name="muon"), dtype, world)
    exact = muon.orthogonal
    with patch.object(muon, "orthogonal", lambda *ahead: exact(*ahead) + world.rank):
        for _ in range(2):
            for parameter in network.parameters():
                parameter.grad = torch.randn(parameter.shape)
            optimizer.step()
    weights = {name: each.detach() for name, each in network.named_parameters()}
    sums = world.all_gather([each.double().sum().item() for each in weights.values()])
    assert sums == [sums[0]] * world.world_size
    return weights


def statistics(world: World) -> dict[str, Tensor]:
    """BatchNorm's running statistics after a forward pass of eight pictures in train mode, on a GPU."""
    torch.manual_seed(0)
    network = build(ModelConfig(widths=(4, 8, 12, 16, 24))).to(world.device)
    wrapped = world.wrap(network, BATCH // world.world_size)
    images = torch.rand(BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wrapped(images.chunk(world.world_size)[world.rank].to(world.device))
    return {name: buffer.cpu() for name, buffer in wrapped.state_dict().items() if "running" in name}


def main() -> int:
    with open_world() as world:
        found: dict[str, Any] = {
            "gradients": gradients(world) if world.device.type == "cpu" else {},
            "accumulated": gradients(world, UNEVEN, accumulate=4) if world.device.type == "cpu" else {},
            "moved": {dtype: moved(world, getattr(torch, dtype)) for dtype in DTYPES}
            if world.device.type == "cpu"
            else {},
            "statistics": statistics(world) if world.device.type == "cuda" else {},
        }
    found["threads"] = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if world.is_main:
        torch.save(found, sys.argv[1])
    return 0


if __name__ == "__main__":
    finish(main)
