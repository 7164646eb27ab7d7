"""A network's buffers (BatchNorm's statistics) at once: one kernel for all in place of one for each."""

import torch
from torch import Tensor, nn


def read_buffers(network: nn.Module) -> list[Tensor]:
    """A copy of all buffers: for each dtype one flat tensor, (numbers of all its buffers,)."""
    return [torch.cat([buffer.flatten() for buffer in group]) for group in _groups(network)]


def write_buffers(network: nn.Module, flat: list[Tensor]) -> None:
    """The buffers become what :func:`read_buffers` has read."""
    for group, values in zip(_groups(network), flat, strict=True):
        parts = values.split([buffer.numel() for buffer in group])
        views = [part.view_as(buffer) for part, buffer in zip(parts, group, strict=True)]
        torch._foreach_copy_(group, views)  # pyright: ignore[reportPrivateUsage]


def _groups(network: nn.Module) -> list[list[Tensor]]:
    groups: dict[torch.dtype, list[Tensor]] = {}
    for buffer in network.buffers():
        groups.setdefault(buffer.dtype, []).append(buffer)
    return list(groups.values())
