"""Training steps on real faces without files, epochs or a loader: what several parts measure."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from lisa.config import Config
from lisa.config.command_line import parse_training
from lisa.data.faces import FaceDataset, collate_same_size
from lisa.data.folders import find_pairs
from lisa.models import build
from lisa.training.precision import settle_precision
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.world import World

DISTINCT = 16
"""Different faces in a batch: enough for all classes; more of them repeat."""

TINY_WIDTHS = (4, 4, 6, 8, 8)
"""Of the LISA that a rehearsal trains."""

STEPS = 10_000
"""Of the schedule, so that none of ours is its last."""


def config_of(words: str, bench: Bench, **data: str | int) -> Config:
    """The config of a training command line, "auto" settled for the device; a small LISA in a rehearsal."""
    config = parse_training(words.split()).config
    config = replace(config, data=replace(config.data, root=bench.data, **data))
    if bench.tiny and config.model.name == "lisa":
        config = replace(config, model=replace(config.model, widths=TINY_WIDTHS, depths=(1, 1, 1, 1, 1)))
    return settle_precision(config, World(device=bench.device))


def real_batch(bench: Bench, size: int, count: int) -> tuple[Tensor, Tensor]:
    """Pictures (count,3,size,size) and masks (count,size,size), uint8, as the loader gives them."""
    faces = FaceDataset(find_pairs(bench.data, "train"), size)
    distinct = [faces[index] for index in range(min(count, DISTINCT, len(faces)))]
    images, masks = collate_same_size([distinct[index % len(distinct)] for index in range(count)])
    return (images.pin_memory(), masks.pin_memory()) if bench.device.type == "cuda" else (images, masks)


def make_step(config: Config, device: torch.device) -> Step:
    """A step of a new network, the first of many."""
    world = World(device=device)
    torch.manual_seed(config.train.seed)
    network = build(config.model).to(device, memory_format=torch.channels_last)  # pyright: ignore
    state = TrainState(network, config, STEPS, world)
    step = Step(config, world, state)
    step.join_ranks(config.train.batch_size)
    step.wrapped.train()
    return step


def call_of(step: Step, batch: Sequence[Tensor]) -> partial[Tensor]:
    """The step on this batch, as one call."""
    images, masks = batch
    return partial(step, images, masks, len(images))
