"""The fused MSCA against the eager one: time, memory, how far apart they are; and whole steps with each."""

import os
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib, seconds_per_call
from benchmarks.gpu.steps import call_of, config_of, make_step, real_batch
from lisa.models.blocks import MSCA
from lisa.models.kernels.msca import fused_msca

SHAPES = ((32, 1), (64, 2), (142, 4), (320, 8), (512, 16))
"""Channels, and the stride of the stage that has so many."""

SWITCH = {False: nullcontext, True: fused_msca}


def run(bench: Bench) -> None:
    """Rows by stage and by recipe, each with the switch off and on."""
    size, count = bench.pick(512, 32), bench.pick(8, 1)
    switches = [False, True]
    if bench.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        bench.note("on the CPU Triton needs TRITON_INTERPRET=1: the eager MSCA alone")
        switches = [False]
    for channels, stride in bench.pick(SHAPES, ((6, 4),)):
        if bench.no_time(f"{channels} channels"):
            return
        compare(bench, (count, channels, size // stride, size // stride), switches)
    batch = real_batch(bench, size, bench.pick(40, 2))
    for recipe in bench.pick(("report", "best"), ("report",)):
        for fused in switches:
            if bench.no_time(f"a step of {recipe}"):
                return
            forget_peak(bench.device)
            call = call_of(make_step(config_of(recipe, bench, size=size), bench.device), batch)
            with SWITCH[fused]():
                seconds = seconds_per_call(call, bench.device, bench.pick(2.0, 0))
            bench.row(
                f"steps of {len(batch[0])} pictures at {size}x{size}",
                recipe=recipe,
                fused=fused,
                ms=1000 * seconds,
                peak_GiB=peak_gib(bench.device),
            )


def compare(bench: Bench, shape: tuple[int, int, int, int], switches: list[bool]) -> None:
    """A row for each precision and switch; the eager one in fp32 is what all are compared with."""
    torch.manual_seed(0)
    msca = MSCA(shape[1]).to(bench.device, memory_format=torch.channels_last)  # pyright: ignore
    x, upstream = (
        torch.randn(shape, device=bench.device).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    right = passes(msca, x, upstream, bf16=False)()
    for bf16 in bench.pick((False, True), (False,)):
        for fused in switches:
            forget_peak(bench.device)
            call = passes(msca, x, upstream, bf16)
            with SWITCH[fused]():
                found = call()
                seconds = seconds_per_call(call, bench.device, bench.pick(0.3, 0))
            bench.row(
                f"MSCA, forward and backward, batch {shape[0]}",
                channels=float(shape[1]),
                side=float(shape[2]),
                precision="bf16" if bf16 else "fp32",
                fused=fused,
                ms=1000 * seconds,
                peak_GiB=peak_gib(bench.device),
                largest_relative_difference=max(map(apart, found, right)),
            )


def passes(msca: MSCA, x: Tensor, upstream: Tensor, bf16: bool) -> Callable[[], list[Tensor]]:
    """A call that gives output and gradients."""

    def call() -> list[Tensor]:
        leaf = x.clone().requires_grad_()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            output = msca(leaf)
        inputs = [leaf, *msca.parameters()]
        return [output.detach(), *torch.autograd.grad(output, inputs, upstream.to(output.dtype))]

    return call


def apart(found: Tensor, right: Tensor) -> float:
    """Relative to the norm of what is right."""
    return ((found.float() - right).norm() / right.norm()).item()
