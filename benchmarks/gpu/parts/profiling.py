"""A step's kernels, its parts, its peak memory, and the losses' kernels alone, at the report's batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib, seconds_per_call
from benchmarks.gpu.steps import call_of, config_of, make_step, real_batch
from lisa.config import LossConfig
from lisa.labels import NUM_CLASSES
from lisa.losses import SegmentationLoss
from lisa.training.step import PARTS

STEPS = 3
SHOWN = 30

TERMS = {
    "cross entropy": LossConfig(dice=0),
    "Dice": LossConfig(cross_entropy=0),
    "Lovasz": LossConfig(cross_entropy=0, dice=0, lovasz=1),
}


def run(bench: Bench) -> None:
    """Profiles the recipes' steps, then each term of the loss."""
    size, count = bench.pick(512, 32), bench.pick(40, 2)
    for words in bench.pick(("report", "best"), ("best",)):
        if bench.no_time(words):
            return
        profile_step(bench, words, size, count)
    profile_losses(bench, size, count)


def profile_step(bench: Bench, words: str, size: int, count: int) -> None:
    """Speed, memory, parts and kernels of a step."""
    device = bench.device
    forget_peak(device)
    call = call_of(make_step(config_of(words, bench, size=size), device), real_batch(bench, size, count))
    seconds = seconds_per_call(call, device, bench.pick(1.0, 0))
    bench.row(
        f"a step of {count} pictures at {size}x{size}",
        recipe=words,
        ms=1000 * seconds,
        images_per_second=count / seconds,
        peak_GiB=peak_gib(device),
    )
    events = events_of(lambda: [call() for _ in range(STEPS)], device)
    for name in PARTS:
        found = [microseconds(event, device, own=False) for event in events if event.key == name]
        bench.row(f"parts of a step, {words}", part=name, ms=max(found, default=0.0) / STEPS / 1000)
    kernels(bench, f"kernels of a step, {words}", events, STEPS)


def profile_losses(bench: Bench, size: int, count: int) -> None:
    """Time and kernels of each term, forward and backward."""
    device = bench.device
    logits = torch.randn(count, NUM_CLASSES, size, size, device=device)
    logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    masks = real_batch(bench, size, count)[1].to(device)
    for name, config in TERMS.items():
        if bench.no_time(name):
            return
        loss = SegmentationLoss(config).to(device)

        def work(loss: SegmentationLoss = loss) -> None:
            logits.grad = None
            loss(logits, masks).backward()

        seconds = seconds_per_call(work, device, bench.pick(0.3, 0))
        bench.row("losses, forward and backward", term=name, ms=1000 * seconds)
        kernels(bench, f"kernels of {name}", events_of(work, device), 1)


def events_of(work: Callable[[], object], device: torch.device) -> list[Any]:
    """The profiler's averages by name: operations, parts and, on a GPU, kernels."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiler:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return list(profiler.key_averages())


def kernels(bench: Bench, title: str, events: list[Any], calls: int) -> None:
    """The longest kernels (on the CPU: operations) in a table, and the sum of all."""
    on_gpu = bench.device.type == "cuda"
    found = [
        event
        for event in events
        if event.key not in PARTS
        and not getattr(event, "is_user_annotation", False)
        and (event.device_type == DeviceType.CUDA) == on_gpu
    ]
    found.sort(key=lambda event: microseconds(event, bench.device), reverse=True)
    total = sum(microseconds(event, bench.device) for event in found)
    bench.row(title, kernel="all", calls=sum(event.count for event in found) / calls, ms=total / calls / 1000)
    for event in found[: bench.pick(SHOWN, 3)]:
        own = microseconds(event, bench.device)
        share = own / total if total else 0.0
        calls_each = event.count / calls
        bench.row(title, kernel=event.key[:160], calls=calls_each, ms=own / calls / 1000, share=share)


def microseconds(event: Any, device: torch.device, own: bool = True) -> float:
    """Time of all calls on the device, without that of the calls inside unless ``own`` is False."""
    where = "device" if device.type == "cuda" else "cpu"
    return getattr(event, f"self_{where}_time_total" if own else f"{where}_time_total")
