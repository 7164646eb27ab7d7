"""World: what a training loop may know about the processes beside it. The default is a single process."""

import platform
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TextIO, TypeVar, cast

import torch
from torch import Tensor, nn

from lisa.errors import InputError, StopAskedError, plain

T = TypeVar("T")

SMALL_BATCH = 16
"""Where a GPU's rank takes fewer pictures at once, BatchNorm's statistics span all ranks."""


@dataclass
class World:
    """Rank 0 of 1. ``distributed.world`` answers the same questions for a process group."""

    rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    """Ranks on this machine."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    patience: float = 240.0
    """Seconds that a rank waits for its own pictures before it gives up; the others wait a little longer."""
    stop_asked: bool = False
    """This rank was asked to stop (SIGTERM, SIGUSR1, Ctrl-C); others may not know yet."""
    interruptible: bool = False

    @property
    def is_main(self) -> bool:
        """True on the one rank that writes files and prints."""
        return self.rank == 0

    @property
    def place(self) -> str:
        """Who speaks, in messages."""
        return f"rank {self.rank} on {platform.node()}"

    def ask_to_stop(self) -> None:
        """What a signal does: notes the wish, and ends a wait for pictures at once."""
        self.stop_asked = True
        if self.interruptible:
            self.interruptible = False
            raise StopAskedError

    @contextmanager
    def heeding_stop(self) -> Generator[None]:
        """A wish to stop raises StopAskedError inside, on this rank alone: for waits that may never end."""
        self.interruptible = True
        try:
            if self.stop_asked:
                raise StopAskedError
            yield
        finally:
            self.interruptible = False

    def all_sum(self, tensor: Tensor) -> Tensor:
        """The tensor summed over all ranks, in place: counts, never ratios, or what one rank alone has."""
        return tensor

    def all_max(self, value: int) -> int:
        """The highest of the ranks' values."""
        return value

    def start_all_max(self, value: int) -> Callable[[], int]:
        """Begins :meth:`all_max` and returns at once; a call of what it returns waits for the answer."""
        highest = self.all_max(value)
        return lambda: highest

    def any(self, flag: bool) -> bool:
        """True on every rank if it is on one."""
        return bool(self.all_max(int(flag)))

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order of rank, on every rank."""
        return [value]

    def fail_together(self, action: Callable[[], T]) -> T:
        """The action's value; an InputError on one rank becomes an InputError on all, so that none waits."""
        value, fault = None, None
        try:
            value = action()
        except InputError as error:
            fault = plain(error)
        faults = [fault for fault in self.all_gather(fault) if fault is not None]
        if faults:
            raise InputError(faults[0])
        return cast(T, value)

    def fail_together_patiently(self, action: Callable[[], T]) -> T:
        """:meth:`fail_together` of what may take one rank far longer than the others, who wait for it."""
        return self.fail_together(action)

    def gather_patiently(self, action: Callable[[], T]) -> list[T]:
        """Every rank's value of what may take one rank far longer than the others, in order of rank."""
        return self.all_gather(self.fail_together_patiently(action))

    def barrier(self) -> None:
        """Returns when every rank has come here."""

    def wrap(self, network: nn.Module, pictures_at_once: int, gradients: str = "fp32") -> nn.Module:
        """The network whose backward pass averages gradients over all ranks, exchanged as fp32 or bf16.

        Where a GPU's rank takes few pictures at once, BatchNorm's statistics span all ranks.
        """
        return network

    def accumulating(self, network: nn.Module) -> AbstractContextManager[object]:
        """Forward and backward passes inside add to the gradients without exchanging them."""
        return nullcontext()

    def average_buffers(self, network: nn.Module) -> None:
        """BatchNorm's running statistics become the ranks' mean, so that all ranks hold the same."""

    def watch(self, log: TextIO | None) -> None:
        """This rank's stacks go into ``log`` when it has been silent for too long; None ends it."""

    def beat(self) -> None:
        """Breaks this rank's silence."""


def usable_device(name: torch.device | str | None, otherwise: str) -> torch.device:
    """The device, which has computed something; the first GPU or else the CPU where none is named.

    Raises InputError, which tells to try ``otherwise``, for a device that is not here or computes nothing.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).add(1).cpu()  # by a kernel, if the wheel has one; no way back from meta
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # unknown, or not here
        reason = str(error).splitlines()[0][:200]
        raise InputError(f"device {str(name)!r} can't be used ({reason}): try {otherwise}") from None
    return device
