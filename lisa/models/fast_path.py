"""Where a module may leave torch's own kernels: the condition that all fast paths share."""

import torch
from torch import Tensor


def eager_on_cpu(input: Tensor) -> bool:
    """True for a CPU tensor outside tracing and autocast: the plain modules serve everywhere else."""
    return input.device.type == "cpu" and not torch.jit.is_tracing() and not torch.is_autocast_enabled("cpu")
