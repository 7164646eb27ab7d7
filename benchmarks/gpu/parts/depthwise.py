"""Depthwise convolutions in bf16: layouts, channels that are a multiple of 8 or not, kernels, gradients."""

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import seconds_per_call
from benchmarks.gpu.parts.profiling import events_of, microseconds

SHAPES = ((3, 1), (32, 1), (64, 2), (142, 4), (144, 4), (320, 8), (512, 16))
"""Channels, and the stride of the stage that has so many."""

KERNELS = ((3, 3), (5, 5), (1, 7), (7, 1), (1, 11), (11, 1), (1, 21), (21, 1))

LAYOUTS = {"NHWC": torch.channels_last, "NCHW": torch.contiguous_format}


def run(bench: Bench) -> None:
    """A row per layout, channels and kernel: milliseconds and GB/s of each pass, the slowest one's kernel."""
    size, batch = bench.pick(512, 32), bench.pick(8, 1)
    shapes = bench.pick(SHAPES, ((3, 1), (142, 4)))
    # 142 and 144 first: they are the question. Then the other widths.
    for channels, stride in sorted(shapes, key=lambda shape: shape[0] not in (142, 144)):
        for kernel in bench.pick(KERNELS, ((1, 21),)):
            for layout in LAYOUTS:
                if bench.no_time(f"{channels} channels, {kernel[0]}x{kernel[1]}"):
                    return
                measure(bench, (batch, channels, size // stride, size // stride), kernel, layout)


def measure(bench: Bench, shape: tuple[int, ...], kernel: tuple[int, int], layout: str) -> None:
    """One row."""
    device, channels = bench.device, shape[1]
    # oneDNN's bf16 convolution of few channels never returns (lisa.models.kernels.depthwise).
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    x, grad = (
        torch.randn(shape, device=device, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
        for _ in range(2)
    )
    weight = torch.randn(channels, 1, *kernel, device=device, dtype=dtype)
    padding = [kernel[0] // 2, kernel[1] // 2]

    def forward() -> Tensor:
        return torch.conv2d(x, weight, padding=padding, groups=channels)

    def backward(to_input: bool) -> object:
        wanted = [to_input, not to_input, False]
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], channels, wanted
        )

    passes = {
        "forward": forward,
        "to_input": lambda: backward(to_input=True),
        "to_weight": lambda: backward(to_input=False),
    }
    least = bench.pick(0.02, 0)
    seconds = {name: seconds_per_call(work, device, least) for name, work in passes.items()}
    slowest = max(seconds, key=lambda name: seconds[name])
    events = events_of(passes[slowest], device)
    longest = max(events, key=lambda event: microseconds(event, device))
    moved = 2 * x.numel() * x.element_size()  # each pass reads or writes two maps
    bench.row(
        f"batch {shape[0]}, {str(dtype).removeprefix('torch.')}",
        channels=float(channels),
        side=float(shape[2]),
        kernel=f"{kernel[0]}x{kernel[1]}",
        layout=layout,
        **{f"{name}_ms": 1000 * value for name, value in seconds.items()},
        **{f"{name}_GB/s": moved / value / 1e9 for name, value in seconds.items()},
        slowest_kernel=longest.key[:100],
    )
