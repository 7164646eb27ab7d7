"""torch.compile against eager steps: seconds, memory, and how long the compilation takes."""

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib, seconds_per_call, timed
from benchmarks.gpu.steps import call_of, can_compile, config_of, make_step, real_batch
from lisa.training.step import Step


def run(bench: Bench) -> None:
    """Both at batch 8 and at batch 40; without --train.compile the network alone is compiled."""
    if not can_compile():
        bench.note("training has no --train.compile: the network alone is compiled, the loss is eager")
    size = bench.pick(512, 32)
    for recipe in bench.pick(("best", "report"), ("report",)):
        for count in bench.pick((40, 8), (2,)):
            batch, eager = real_batch(bench, size, count), 0.0
            for compiled in (False, True):
                if bench.no_time(f"{recipe}, batch {count}"):
                    return
                forget_peak(bench.device)
                torch.compiler.reset()
                call = call_of(stepper(bench, recipe, size, compiled), batch)
                first = timed(call, bench.device)
                seconds = seconds_per_call(call, bench.device, bench.pick(2.0, 0))
                eager = eager if compiled else seconds
                bench.row(
                    f"steps at {size}x{size}",
                    recipe=recipe,
                    batch=float(count),
                    compiled=compiled,
                    ms=1000 * seconds,
                    images_per_second=count / seconds,
                    times_eager=eager / seconds,
                    first_step_s=first,
                    peak_GiB=peak_gib(bench.device),
                )


def stepper(bench: Bench, recipe: str, size: int, compiled: bool) -> Step:
    """A step whose network, or network and loss, are compiled or not."""
    words = f"{recipe} --train.compile" if compiled and can_compile() else recipe
    step = make_step(config_of(words, bench, size=size), bench.device)
    if compiled and not can_compile():
        # Rehearsals need no C++ compiler: the graph is captured, nothing is generated.
        step.network.compile(backend=bench.pick("inductor", "eager"))
    return step
