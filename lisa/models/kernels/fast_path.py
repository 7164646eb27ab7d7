"""When the fast paths replace torch's kernels: the condition that all share, and a switch for comparisons."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_enabled: ContextVar[bool] = ContextVar("fast paths", default=True)


def eager_on_cpu(input: Tensor) -> bool:
    """True for a CPU tensor outside tracing and compiling: the plain modules serve everywhere else."""
    if torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    return input.device.type == "cpu" and _enabled.get()


@contextmanager
def plain_kernels() -> Generator[None]:
    """Inside, all networks run on torch's own kernels: the reference that the fast paths are held against."""
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)
