"""float32 that is float32: CUDA multiplies convolutions in TF32 (10 bits of mantissa) unless it is told."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

TF32, IEEE = "tf32", "ieee"


@contextmanager
def ieee_float32(device: torch.device) -> Generator[None]:
    """Matrix products and convolutions inside are in IEEE float32, as on the CPU."""
    with float32_precision(IEEE, device):
        yield


_switching = threading.Lock()
_inside: list[str] = []
"""What the calls that are under way asked for, in all threads: the switches are the process's."""
_outside: list[Any] = []
"""What the switches were before the first of them."""


@contextmanager
def float32_precision(name: str, device: torch.device) -> Generator[None]:
    """On a CUDA device products of float32 inside are "ieee" or "tf32"; elsewhere nothing changes.

    Threads may be inside together if they ask for the same. The last one to leave restores what was before.
    """
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn  # whose stubs lack conv
    backends = (torch.backends.cuda.matmul, cudnn.conv)
    with _switching:
        if not _inside:
            _outside[:] = [backend.fp32_precision for backend in backends]
        _inside.append(name)
        for backend in backends:
            backend.fp32_precision = name
    try:
        yield
    finally:
        with _switching:
            del _inside[len(_inside) - 1 - _inside[::-1].index(name)]
            for backend, former in zip(backends, _inside[-1:] * 2 or _outside, strict=True):
                backend.fp32_precision = former
