"""The machine: its cores, its devices, its allocator."""

import ctypes
import os
import platform
import warnings
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
    # device_count may be NVML's: of a driver that torch can't use, or of slices that no one process gets.
    count: int = torch._C._cuda_getDeviceCount() if torch.cuda.is_available() else 0  # pyright: ignore
    if name == "auto":
        return [torch.device("cuda", index) for index in range(count)] or [torch.device("cpu")]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N") from None
    if device.type == "mps":
        raise CannotStartError("--device mps: nobody has tried this on Apple's GPUs: take --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise CannotStartError(f"--device {name}: this machine has {count} CUDA devices")
    return [device]


def choose_precision(name: str, device: torch.device) -> str:
    """auto: bf16 where the device multiplies it in hardware. tf32: fp32 where the device has none."""
    on_gpu = device.type != "cpu"
    if name == "tf32" and not (on_gpu and torch.cuda.get_device_capability(device) >= (8, 0)):
        return "fp32"
    if name != "auto":
        return name
    if not on_gpu:
        return "bf16" if cpu_has_bf16() else "fp32"
    with torch.cuda.device(device):  # of which torch asks the current one
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def prepare_device(device: torch.device, precision: str) -> None:
    """Sets what torch keeps per process: call it before a model is loaded for the device.

    Unless told otherwise, torch rounds fp32 convolutions to TF32's 10 bits on CUDA, which changes some 0.02 %
    of the labels. Its fuser compiles anew for every new shape, in the middle of a run: it is switched off.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated upstream
        torch.jit.set_fusion_strategy([])
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"


_OUT_OF_MEMORY = (
    *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory"),
    *("alloc_failed", "outofmemory", "cudaerrormemoryallocation", "failed to allocate"),
)
"""How torch, CUDA, cuBLAS, cuDNN, HIP and allocators say it, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory is missing, on the device or here."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OUT_OF_MEMORY)


def device_answers(device: torch.device) -> bool:
    """Whether the device still computes. After some errors, such as a bad address, it never does again."""
    try:
        return float(torch.ones(1, device=device).add(1)) == 2
    except RuntimeError as error:
        return is_out_of_memory(error)


def release_memory(device: torch.device) -> None:
    """Gives back what torch keeps of the device's memory for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
