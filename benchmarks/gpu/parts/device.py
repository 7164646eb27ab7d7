"""Copy bandwidth and matmul rate of the device, and the least time that a training picture can take there."""

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import seconds_per_call
from lisa.evaluation.float32 import IEEE, TF32, float32_precision

TRAINING_BYTES = 9.9e9
"""Counted by hand: what LISA's eager bf16 step moves for a picture of 512x512, forward and backward."""

TRAINING_FLOP = 76e9
"""Counted by hand: the same picture's floating-point operations."""


def run(bench: Bench) -> None:
    """Measures both, then divides."""
    bandwidth = copies(bench)
    rate = matmuls(bench)
    by_bytes, by_flop = TRAINING_BYTES / bandwidth, TRAINING_FLOP / rate
    bench.row(
        "least time of a training picture of 512x512, eager bf16",
        ms_by_bytes=1000 * by_bytes,
        ms_by_arithmetic=1000 * by_flop,
        most_images_per_second=1 / max(by_bytes, by_flop),
    )


def copies(bench: Bench) -> float:
    """Bytes per second read and written on the device; also from pinned memory to it."""
    device, size = bench.device, bench.pick(2**30, 2**16)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    bandwidth = 2 * size / seconds_per_call(lambda: target.copy_(source), device, bench.pick(0.3, 0))
    bench.row("copies", what="device to device, read + written", GB_per_second=bandwidth / 1e9)
    host = torch.ones(size // 4, dtype=torch.uint8, pin_memory=device.type == "cuda")
    part = target[: size // 4]
    seconds = seconds_per_call(lambda: part.copy_(host, non_blocking=True), device, bench.pick(0.3, 0))
    bench.row("copies", what="pinned host memory to device", GB_per_second=size // 4 / seconds / 1e9)
    return bandwidth


def matmuls(bench: Bench) -> float:
    """Operations per second of a square product in bf16, which comes last."""
    device, side, rate = bench.device, bench.pick(8192, 64), 0.0
    for name, dtype, mode in (
        ("fp32", torch.float32, IEEE),
        ("tf32", torch.float32, TF32),
        ("bf16", torch.bfloat16, IEEE),
    ):
        a = torch.randn(side, side, device=device, dtype=dtype)
        with float32_precision(mode, device):
            rate = 2 * side**3 / seconds_per_call(lambda a=a: a @ a, device, bench.pick(0.3, 0))
        bench.row(f"products of {side}x{side} matrices", precision=name, TFLOP_per_second=rate / 1e12)
    return rate
