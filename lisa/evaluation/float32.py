"""float32 that is float32: CUDA multiplies convolutions in TF32 (10 bits of mantissa) unless it is told."""

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


@contextmanager
def float32_precision(name: str, device: torch.device) -> Generator[None]:
    """On a CUDA device products of float32 inside are "ieee" or "tf32"; elsewhere nothing changes."""
    if device.type != "cuda":
        yield
        return
    cudnn: Any = torch.backends.cudnn  # whose stubs lack conv
    backends = (torch.backends.cuda.matmul, cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = name
    try:
        yield
    finally:
        for backend, former in zip(backends, before, strict=True):
            backend.fp32_precision = former
