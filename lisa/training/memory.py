"""The largest part of a batch that fits into memory, and the smallest one that can be normalised."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import nn

from lisa.data.epoch_batches import EpochBatches
from lisa.errors import InputError
from lisa.system.short_memory import ADVICE, is_out_of_memory
from lisa.training.step import Step
from lisa.world import World

LARGEST_STRIDE = 64
"""No network shrinks a larger picture to one pixel."""


def find_parts(step: Step, batches: EpochBatches, world: World) -> int:
    """The fewest parts of a rank's share of a batch that fit into memory, the same on all ranks.

    It tries steps that change nothing. Raises InputError if not even single pictures fit.
    """
    pictures = largest_share(batches, world)
    # The last batch is a smallest one, in whose parts all others must fit.
    most = batches.global_batch(batches.steps - 1) // world.world_size
    attempt = partial(step.try_memory, pictures)
    return max(world.all_gather(world.fail_together(lambda: fitting_parts(attempt, most, step.parts))))


def require_memory(step: Step, batches: EpochBatches, world: World) -> None:
    """Raises InputError on all ranks if a rank's share of a batch does not fit in the parts it is cut into.

    It tries a step that changes nothing. A worker that only fails in its first one is started again, to fail
    as before.
    """
    pictures = largest_share(batches, world)
    parts = min(step.parts, pictures)

    def attempt() -> None:
        if not _fits(partial(step.try_memory, pictures), parts):
            at_once = -(-pictures // parts)
            raise InputError(
                f"a step of {at_once} picture(s) at a time doesn't fit into the device's memory: {ADVICE}"
            )

    world.fail_together(attempt)


def largest_share(batches: EpochBatches, world: World) -> int:
    """Pictures of the largest share that a rank has of a batch: the first batch is a largest one."""
    return -(-batches.global_batch(0) // world.world_size)


def fitting_parts(step: Callable[[int], None], most: int, parts: int) -> int:
    """The fewest parts, doubling from ``parts`` up to ``most``, for which ``step(parts)`` has enough memory.

    Raises InputError where it has not for ``most``.
    """
    parts = min(parts, most)
    while True:
        if _fits(step, parts):
            return parts
        if parts == most:
            raise InputError(
                f"a process's share of a batch doesn't fit into memory, not even in {most} part(s): lower "
                "--size or --batch-size, or set --train.activation-checkpointing"
            )
        parts = min(2 * parts, most)


def require_normalisable(network: nn.Module, size: int, pictures: int) -> None:
    """Raises InputError if BatchNorm can't train on parts of so few pictures.

    It needs more than one value per channel: a part of one picture has just one where the network has
    shrunk it to a single pixel. SyncBatchNorm counts all ranks' pictures.
    """
    together = any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    if pictures > 1 or size > LARGEST_STRIDE or together:
        return
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            deepcopy(network).train()(torch.zeros(pictures, 3, size, size, device=device))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"data.size = {size}: the network shrinks a picture to one pixel there, which BatchNorm can't "
            f"train on with {pictures} picture(s) at a time: a larger --size or --batch-size, or fewer parts "
            "(--train.accumulate) or processes"
        ) from None


def _fits(step: Callable[[int], None], parts: int) -> bool:
    try:
        step(parts)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    # Behind the except clause: the error's traceback held the step's tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False
