"""What a forward pass does."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lisa.models.kernels.fast_path import plain_kernels


class Counts(NamedTuple):
    """Of one picture, forward."""

    operations: float
    """Floating-point operations of convolutions and matrix products; a multiplication with its sum is two."""
    values: int
    """Numbers written by all operators, views excepted."""


class _Values(TorchDispatchMode):
    """Counts what operators write."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            results = result if isinstance(result, (tuple, list)) else (result,)
            self.count += sum(x.numel() for x in results if isinstance(x, Tensor))
        return result


def count(network: nn.Module, size: int) -> Counts:
    """Counts a picture (1,3,size,size) of a network in eval mode, with torch's own kernels."""
    picture = torch.zeros(1, 3, size, size)
    with torch.no_grad(), plain_kernels(), FlopCounterMode(display=False) as operations:
        network(picture)
    with torch.no_grad(), plain_kernels(), _Values() as values:
        network(picture)
    return Counts(float(operations.get_total_flops()), values.count)
