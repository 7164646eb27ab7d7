"""torch.compile against eager steps: seconds, memory, and how long the compilation takes."""

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib, seconds_per_call, timed
from benchmarks.gpu.steps import call_of, config_of, make_step, real_batch
from lisa.training.passes import compile_passes
from lisa.training.step import Step


def run(bench: Bench) -> None:
    """Both at batch 8 and at batch 40."""
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
    """A step whose network and loss are compiled, as --train.compile does it, or not."""
    step = make_step(config_of(recipe, bench, size=size), bench.device)
    if compiled:
        # Rehearsals need no C++ compiler: the graph is captured, nothing is generated.
        compile_passes(step.passes, backend=bench.pick("inductor", "eager"))
    return step
