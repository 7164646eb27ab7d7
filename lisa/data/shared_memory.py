"""Whether /dev/shm has room for what decoding processes leave there. Imports no torch."""

import shutil
import sys
from pathlib import Path

from lisa.errors import InputError

SHARED_MEMORY = Path("/dev/shm")
"""Where worker processes leave what they have decoded."""

PREFETCH = 2
"""Batches that each worker prepares ahead."""

FEW_WORKERS = 2
"""Decoding processes that each process has at least where nobody said how many (-1)."""

IN_HAND = 3
"""Batches that the training process holds at most: a step's, the next one, one on its way."""

ROOM = "give the container more (docker run --shm-size=8g; in Kubernetes an emptyDir of medium Memory)"


def batch_bytes(batch_size: int, world_size: int, size: int) -> int:
    """Bytes of a process's share of a training batch: pictures and masks of size x size pixels."""
    return -(-batch_size // world_size) * 4 * size**2


def require_shared_memory(batch: int, workers: int, processes: int) -> None:
    """Raises InputError where /dev/shm has no room for all workers of so many processes on this machine.

    ``batch`` is the bytes of a process's batch; ``workers`` decode for each of the processes, -1 counts as
    the fewest it may come to. Without room they die or wait for ever, one by one, in the middle of a run.
    """
    if workers == 0 or not SHARED_MEMORY.is_dir():
        return
    workers = FEW_WORKERS if workers < 0 else workers
    needed = batch * (PREFETCH * workers + IN_HAND) * processes
    free = free_bytes()
    if free < needed:
        decoding = workers * processes
        raise InputError(
            f"{SHARED_MEMORY} has {free / 2**20:.0f} MiB free, and {decoding} decoding processes need "
            f"{needed / 2**20:.0f} MiB: {ROOM}, or decode in the training process: --data.workers 0"
        )


def most_workers(batch: int, processes: int) -> int:
    """How many decoding processes for each of so many processes /dev/shm has room for."""
    if not SHARED_MEMORY.is_dir():
        return sys.maxsize
    return (free_bytes() // (batch * processes) - IN_HAND) // PREFETCH


def free_bytes() -> int:
    """Bytes free in /dev/shm; 0 where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
