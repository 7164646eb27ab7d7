"""Where the host waits for the device in a training step: torch tells, on CUDA alone."""

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.driver import ROOT
from benchmarks.gpu.steps import call_of, config_of, make_step, real_batch

MESSAGE = "called a synchronizing"
"""What torch's warnings of this mode have in common."""

STEPS = 3

VARIANTS = ("report", "best", "best --train.accumulate 2")


def run(bench: Bench) -> None:
    """Counts in three steps of each variant, after two to warm up."""
    size, count = bench.pick(256, 32), bench.pick(8, 2)
    for words in bench.pick(VARIANTS, VARIANTS[:2]):
        if bench.no_time(words):
            return
        call = call_of(
            make_step(config_of(words, bench, size=size), bench.device), real_batch(bench, size, count)
        )
        for _ in range(2):
            call()
        places = waits(lambda call=call: [call() for _ in range(STEPS)], bench.device)
        bench.row("waits in three steps", options=words, waits=float(places.total()))
        for place, number in places.most_common():
            bench.row("where", options=words, place=place, times=float(number))
    if bench.device.type == "cpu":
        bench.note("on the CPU torch tells of no waits")


def waits(work: Callable[[], object], device: torch.device) -> Counter[str]:
    """How often the host waited while ``work`` ran, by place in this repository."""
    places: Counter[str] = Counter()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if MESSAGE in str(message):
            places[caller()] += 1

    with warnings.catch_warnings(), warned_of_syncs(device):
        warnings.simplefilter("always")
        warnings.showwarning = show
        work()
    return places


@contextmanager
def warned_of_syncs(device: torch.device) -> Generator[None]:
    """Inside, torch warns of each synchronisation."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def caller() -> str:
    """The innermost line of this repository, or of whatever called from outside (autograd's threads)."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename != __file__]
    own = [frame for frame in frames if is_ours(frame.filename)]
    frame = (own or frames)[-1]
    name = Path(frame.filename).relative_to(ROOT) if is_ours(frame.filename) else frame.filename
    return f"{name}:{frame.lineno}: {frame.line}"


def is_ours(filename: str) -> bool:
    """Whether it is a file of this repository, packages installed inside it left out."""
    path = Path(filename)
    return path.is_relative_to(ROOT) and ".venv" not in path.parts
