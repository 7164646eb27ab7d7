"""The machine: its cores, its devices, its allocator."""

import ctypes
import os
import platform
from pathlib import Path

import torch

from .errors import CannotStartError


def keep_freed_memory() -> None:
    """Tells glibc to reuse freed buffers. Call it before the first tensor.

    By default every large buffer is fresh memory from the kernel, and touching its pages for the first time
    costs more than the arithmetic on them. Elsewhere (macOS, Windows, musl) nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_devices(name: str) -> list[torch.device]:
    """auto: every GPU, or the CPU where there is none. Raises CannotStartError for others."""
    count = torch.cuda.device_count()
    if name == "auto":
        return [torch.device("cuda", index) for index in range(count)] or [torch.device("cpu")]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise CannotStartError(f"--device {name}: this machine has {count} CUDA devices")
    return [device]


def choose_precision(name: str, device: torch.device) -> str:
    """auto: bf16 where the device multiplies it in hardware."""
    if name != "auto":
        return name
    on_gpu = device.type != "cpu"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else cpu_has_bf16()
    return "bf16" if fast else "fp32"
