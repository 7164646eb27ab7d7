"""The largest part of a batch that fits into memory, and the smallest one that can be normalised."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import nn

from lisa.data.faces import EpochBatches
from lisa.errors import InputError
from lisa.training.step import Step
from lisa.world import World

OUT_OF_MEMORY = (
    "out of memory",  # CUDA, HIP and MPS, by torch's allocator, by the driver, through NCCL
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
    "can't allocate memory",  # the CPU's allocator
    "not enough memory",  # the same on other systems
)
"""Words of a RuntimeError, in small letters, that say that memory was short."""

LARGEST_STRIDE = 64
"""No network shrinks a larger picture to one pixel."""


def find_parts(step: Step, batches: EpochBatches, world: World) -> int:
    """The fewest parts of a rank's share of a batch that fit into memory, the same on all ranks.

    It tries steps that change nothing. Raises InputError if not even single pictures fit.
    """
    # The first batch is a largest one, the last one a smallest, in whose parts all others must fit.
    pictures = -(-batches.global_batch(0) // world.world_size)
    most = batches.global_batch(batches.steps - 1) // world.world_size
    attempt = partial(step.try_memory, pictures)
    return max(world.all_gather(world.fail_together(lambda: fitting_parts(attempt, most, step.parts))))


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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory was short: torch has a class for its own allocator's errors, others only words."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(words in text for words in OUT_OF_MEMORY)
