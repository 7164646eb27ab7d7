"""Seconds and memory of work on a device."""

import time
from collections.abc import Callable

import torch

LEAST_SECONDS, MOST_CALLS = 0.3, 100


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_per_call(work: Callable[[], object], device: torch.device, least: float = LEAST_SECONDS) -> float:
    """Mean of as many calls as fill ``least`` seconds, after three to warm up, which compile and tune."""
    for _ in range(2):
        work()
    one = timed(work, device)
    count = min(MOST_CALLS, max(1, round(least / one)))

    def several() -> None:
        for _ in range(count):
            work()

    return timed(several, device) / count


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def forget_peak(device: torch.device) -> None:
    """Peak memory counts from here; what is cached goes back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float | None:
    """The most that torch's tensors took since :func:`forget_peak`, in GiB; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
