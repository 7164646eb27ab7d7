"""What a process settles at its start: glibc, denormals, its parent's death; a command that shares its end.

Imports no torch by itself. Where the system is not Linux, nothing is done about glibc and a parent's death.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""With it glibc reuses freed buffers: page faults of fresh ones cost a CPU more than the arithmetic."""

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Requests to stop; Windows has no SIGHUP."""

_PR_SET_PDEATHSIG = 1
# Loaded here: between fork and exec that might hang.
_LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """The kernel sends this process SIGTERM when its parent dies, however it dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def run_tied(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> int:
    """Runs a command to its end and returns its exit code, as a shell has it.

    Requests to stop that reach this process are handed on to the command, which ends in its own good order;
    where this process is killed outright, the command gets SIGTERM.
    """
    heard = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
    former: dict[signal.Signals, Any] = {}

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until the handlers know the command
    try:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, start_new_session=True, preexec_fn=_settle_tied
        )
        former = {number: signal.signal(number, hand_on) for number in heard}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        code = process.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return code if code >= 0 else 128 - code


def _settle_tied() -> None:
    """Between fork and exec."""
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)


def flush_denormals() -> None:
    """Denormals count as zero: the first training steps are several times slower with them."""
    import torch

    torch.set_flush_denormal(True)
