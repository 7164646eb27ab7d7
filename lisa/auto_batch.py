"""The largest part of a batch that fits into memory, found by trying."""

from collections.abc import Callable

import torch

from lisa.errors import InputError


def fitting_parts(step: Callable[[int], None], pictures: int, parts: int) -> int:
    """The fewest parts, doubling from ``parts``, in which ``step(pictures in a part)`` has enough memory.

    Raises InputError where a single picture has not.
    """
    while True:
        part = -(-pictures // parts)
        if _fits(step, part):
            return parts
        if part == 1:
            raise InputError(
                "one picture doesn't fit into memory: lower --size, or set --train.activation-checkpointing"
            )
        parts = min(2 * parts, pictures)


def _fits(step: Callable[[int], None], pictures: int) -> bool:
    try:
        step(pictures)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    else:
        return True
    # Behind the except clause: the error's traceback held the step's tensors.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def _is_out_of_memory(error: RuntimeError) -> bool:
    """CUDA's has a class; the CPU's allocator raises a RuntimeError that only its words tell."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
