"""What a process that computes settles at its start: glibc, denormals, its parent's death.

Imports no torch by itself. Where the system is not Linux the calls do nothing.
"""

import ctypes
import signal
import sys

KEEP_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1000000000000",
    "MALLOC_TOP_PAD_": "67108864",
}
"""With it glibc reuses freed buffers: page faults of fresh ones cost a CPU more than the arithmetic."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """The kernel sends this process SIGTERM when its parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def flush_denormals() -> None:
    """Denormals count as zero: the first training steps are several times slower with them."""
    import torch

    torch.set_flush_denormal(True)
