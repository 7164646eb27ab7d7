"""World: what a training loop may know about the processes beside it. The default is a single process."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from lisa.errors import InputError

T = TypeVar("T")


@dataclass
class World:
    """Rank 0 of 1. ``distributed.world`` answers the same questions for a process group."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """True on the one rank that writes files and prints."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all ranks, in place; counts come here, never ratios."""
        return tensor

    def any(self, flag: bool) -> bool:
        """True on every rank if it is on one."""
        return flag

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order of rank, on every rank."""
        return [value]

    def agree(self, action: Callable[[], T]) -> T:
        """The action's value; an InputError on one rank becomes an InputError on all, so that none waits."""
        value, fault = None, None
        try:
            value = action()
        except InputError as error:
            fault = str(error)
        faults = [fault for fault in self.gather(fault) if fault is not None]
        if faults:
            raise InputError(faults[0])
        return cast(T, value)

    def barrier(self) -> None:
        """Returns when every rank has come here."""

    def wrap(self, network: nn.Module, pictures_per_rank: int, gradients: str = "fp32") -> nn.Module:
        """The network whose backward pass averages gradients over all ranks, exchanged as fp32 or bf16.

        Where a rank's share of a batch is small, BatchNorm's statistics span all ranks if the device can.
        """
        return network

    def accumulating(self, network: nn.Module) -> AbstractContextManager[object]:
        """Backward passes inside add to the gradients without exchanging them."""
        return nullcontext()

    def average_buffers(self, network: nn.Module) -> None:
        """BatchNorm's running statistics become the ranks' mean, so that all ranks hold the same."""

    def should_stop(self) -> bool:
        """True on every rank once one was asked to stop (SIGTERM, Ctrl-C)."""
        return False
