"""The largest part of a batch that fits into memory, found by trying."""

from collections.abc import Callable

import torch

from lisa.errors import InputError


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


def _fits(step: Callable[[int], None], parts: int) -> bool:
    try:
        step(parts)
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
