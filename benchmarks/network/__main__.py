"""Training steps over shaped links against the unshaped one, beside what cost_model.py predicts.

    sudo env PATH="$PATH" python -m benchmarks.network [--rounds 3] [--steps 4]

Two hosts (network namespaces) with one process each, on Gloo: once joined by a veth cable, which a token
bucket narrows, once by long_cable.py, which delays. Both pairs live through the whole run, and
every figure is a median over interleaved rounds: what else the machine does meets all links alike. Then DDP's
bucket sizes and static_graph. The cost model gets compute, latency and bandwidth from the bare cables.
"""

import json
import math
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import Any, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.network.cost_model import Link, step_seconds
from benchmarks.network.hosts import TwoHosts, command
from benchmarks.network.long_cable import FarHosts
from benchmarks.network.rank import ANSWER

BYTES = {"fp32": 4, "bf16": 2}
GRADIENTS = tuple(BYTES)

_FIRST_WINDOW = 10 * 8948
"""Linux's ten segments, of the long cable's size."""


class Shape(NamedTuple):
    """A link as tried: its cable, its rate in Mbit/s, its delay each way in seconds, whether
    TCP begins anew after each pause (Linux's default)."""

    name: str
    far: bool = False
    megabits: float | None = None
    delay: float = 0.0
    slow_start: bool = True


SHAPES = (
    Shape("veth, unshaped"),
    Shape("veth, 1 Gbit/s", megabits=1000),
    Shape("veth, 100 Mbit/s", megabits=100),
    Shape("long cable, no delay", far=True),
    Shape("long cable, 10 ms", far=True, delay=0.010),
    Shape("long cable, 50 ms", far=True, delay=0.050),
    Shape("50 ms, no slow start", far=True, delay=0.050, slow_start=False),
)
VARIANTS: dict[str, dict[str, Any]] = {
    "25 MB, the default": {},
    "1 MB": {"bucket_cap_mb": 1},
    "4 MB": {"bucket_cap_mb": 4},
    "25 MB, static_graph": {"static_graph": True},
}


class Pair:
    """The two ranks of a pair of hosts, waiting for requests."""

    def __init__(self, hosts: TwoHosts, stack: ExitStack) -> None:
        self.hosts = stack.enter_context(hosts)
        self.ranks: list[subprocess.Popen[str]] = []
        for rank in (0, 1):
            group = {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
            meeting = {"MASTER_ADDR": hosts.addresses[0], "MASTER_PORT": "29400", "OMP_NUM_THREADS": "1"}
            environment = {**hosts.environment(rank), **group, **meeting}
            words = [sys.executable, "-m", "benchmarks.network.rank"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.ranks.append(hosts.start(rank, words, env=environment, **pipes))

    def shape(self, shape: Shape) -> None:
        """The cable becomes this link."""
        if isinstance(self.hosts, FarHosts):
            self.hosts.delay = shape.delay
            for name in self.hosts.names:
                setting = f"net.ipv4.tcp_slow_start_after_idle={int(shape.slow_start)}"
                command("ip", "netns", "exec", name, "sysctl", "-qw", setting)
        else:
            self.hosts.shape(shape.megabits)

    def ask(self, what: dict[str, Any], steps: int) -> float:
        """Rank 0's seconds per step."""
        for rank in self.ranks:
            assert rank.stdin is not None
            rank.stdin.write(json.dumps({"what": what, "steps": steps}) + "\n")
            rank.stdin.flush()
        seconds, _ = (self._answer(rank) for rank in self.ranks)
        return seconds

    def _answer(self, rank: subprocess.Popen[str]) -> float:
        assert rank.stdout is not None
        for line in rank.stdout:
            if line.startswith(ANSWER):
                return float(line.removeprefix(ANSWER))
        raise RuntimeError("a rank ended; its message stands above")


class Times:
    """Seconds by key, a list per round."""

    def __init__(self) -> None:
        self.rounds: dict[tuple[str, str], list[float]] = {}

    def add(self, name: str, kind: str, seconds: float) -> None:
        """Another round's figure."""
        self.rounds.setdefault((name, kind), []).append(seconds)

    def median(self, name: str, kind: str) -> float:
        """Over all rounds."""
        return statistics.median(self.rounds[name, kind])


def measure(pairs: dict[bool, Pair], times: Times, work: dict[str, int], steps: int) -> None:
    """One round: every link with both widths of gradients, then the buckets on the two veth extremes."""
    for shape in SHAPES:
        pair = pairs[shape.far]
        pair.shape(shape)
        times.add(shape.name, "flag", pair.ask({"kind": "flag"}, 5))
        times.add(shape.name, "alone", pair.ask({"kind": "alone", **work}, steps))
        for gradients in GRADIENTS:
            request = {"kind": "wrapped", "gradients": gradients, **work}
            times.add(shape.name, gradients, pair.ask(request, steps))
        if shape.megabits in (None, 1000) and not shape.far:
            for name, options in VARIANTS.items():
                times.add(shape.name, name, pair.ask({"kind": "variant", **options, **work}, steps))
        pair.shape(Shape("unshaped"))


def calibrated(times: Times, shape: Shape, compute: float) -> Link:
    """The link that the cost model is given: the bare cable's own latency and bandwidth, and the shape's."""
    bare = SHAPES[3 if shape.far else 0].name
    latency = times.median(bare, "flag") / 2
    # What fp32 takes on the bare cable beyond compute and latency is its bandwidth, Gloo's own work included.
    free = Link("no cost per byte", latency, math.inf)
    spent = times.median(bare, "fp32") - step_seconds(compute, 2, free, 4)
    sent = step_seconds(0, 2, Link("a byte a second", 0, 1), 4)
    per_byte = max(spent, 0) / sent + (8 / (shape.megabits * 1e6) if shape.megabits else 0)
    bandwidth = 1 / per_byte if per_byte else math.inf
    window = _FIRST_WINDOW if shape.far and shape.slow_start else math.inf
    return Link(shape.name, latency + shape.delay, bandwidth, window)


def report(times: Times, console: Console) -> None:
    """Two tables: links, and buckets."""
    table = Table(title="seconds per step of two hosts, and speed against the same cable unshaped")
    for heading in ("link", "round trip", "fp32", "predicted", "speed", "bf16", "predicted", "bf16/fp32"):
        table.add_column(heading, justify="left" if heading == "link" else "right")
    compute = statistics.median([times.median(shape.name, "alone") for shape in SHAPES])
    for shape in SHAPES:
        link = calibrated(times, shape, compute)
        fp32, bf16 = (times.median(shape.name, gradients) for gradients in GRADIENTS)
        predicted = [f"{step_seconds(compute, 2, link, BYTES[gradients]):.3f}" for gradients in GRADIENTS]
        bare = times.median(SHAPES[3 if shape.far else 0].name, "fp32")
        figures = (f"{fp32:.3f}", predicted[0], f"{bare / fp32:.2f}", f"{bf16:.3f}", predicted[1])
        trip = f"{1000 * times.median(shape.name, 'flag'):.1f} ms"
        table.add_row(shape.name, trip, *figures, f"{fp32 / bf16:.2f}")
    console.print(table)
    console.print(
        f"compute alone {compute:.3f} s; 'round trip' is the stop flag's all-reduce", highlight=False
    )
    table = Table(title="seconds per step by DDP's buckets, fp32")
    for heading in ("buckets", SHAPES[0].name, SHAPES[1].name):
        table.add_column(heading, justify="left" if heading == "buckets" else "right")
    for name in VARIANTS:
        table.add_row(name, *(f"{times.median(shape.name, name):.3f}" for shape in SHAPES[:2]))
    console.print(table)


def main(rounds: int = 3, steps: int = 4, size: int = 32, pictures: int = 1) -> None:
    """Measure and predict.

    Args:
        rounds: Times that all links are gone through.
        steps: Training steps per link and round.
        size: Side of the pictures, in pixels.
        pictures: Pictures per rank and step.
    """
    work = {"size": size, "pictures": pictures}
    times = Times()
    with ExitStack() as stack:
        pairs = {False: Pair(TwoHosts(0), stack), True: Pair(FarHosts(1), stack)}
        for _ in range(rounds):
            measure(pairs, times, work, steps)
    report(times, Console(width=120))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks.network")
