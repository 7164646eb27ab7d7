"""What a training step costs on many ranks: compute, and the collectives that it waits for.

    python -m benchmarks.network.cost_model [--compute 0.1] [--gradients bf16]

A collective over n ranks in a ring takes 2(n-1) messages one after another, each of 1/n of the bytes: latency
counts n times over, bandwidth hardly depends on n (Patarasuk and Yuan, JPDC 2009). Nothing is taken off for
the exchange that DDP hides behind the backward pass: LISA's 8 MB are two buckets, 1 MB and the rest, and the
second is complete when the backward pass is. TCP begins anew with a small window after each pause and doubles
it per round trip (RFC 5681, 4.1). docs/reliability.md compares all this with benchmarks.network.
"""

import math
from dataclasses import dataclass
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

PARAMETERS = 1_999_551
"""LISA's, all of them trained."""

BUFFERS = 10_954
"""Floating-point buffers: BatchNorm's running statistics, averaged once per step."""

BUCKETS = 2
"""All-reduces of gradients per step with DDP's default bucket sizes."""


@dataclass(frozen=True)
class Link:
    """The slowest part of the ring."""

    name: str
    latency: float
    """Seconds from one rank's sending of a small message to the next one's."""
    bandwidth: float
    """Bytes per second, each way."""
    window: float = math.inf
    """Bytes that TCP sends in the first round trip after a pause; infinite without TCP, or where latency is
    too low for it to count."""


LINKS = (
    Link("NVLink, one host", 5e-6, 200e9),
    Link("InfiniBand 200 Gbit/s", 10e-6, 25e9),
    Link("Ethernet 25 Gbit/s", 30e-6, 3.1e9),
    Link("Ethernet 1 Gbit/s", 50e-6, 125e6),
)
"""Round figures of the trade, not measured here."""

FLAG_LATENCY = 50e-6
"""The stop flag goes by Gloo over TCP on every link, so that it never waits for the GPU."""


def all_reduce(ranks: int, size: float, latency: float, bandwidth: float) -> float:
    """Seconds of a ring all-reduce of ``size`` bytes."""
    return 2 * (ranks - 1) * (latency + size / ranks / bandwidth)


def step_seconds(
    compute: float, ranks: int, link: Link, bytes_per_gradient: int, flag_latency: float | None = None
) -> float:
    """Seconds per step: compute, gradients in buckets, BatchNorm's statistics in fp32.

    The stop flag is on its way meanwhile: it counts where it takes longer than all of them. It takes the
    link's own latency if none is given.
    """
    own = link.latency, link.bandwidth
    gradients = BUCKETS * all_reduce(ranks, PARAMETERS * bytes_per_gradient / BUCKETS, *own)
    statistics = all_reduce(ranks, BUFFERS * 4, *own)
    flag = all_reduce(ranks, 8, link.latency if flag_latency is None else flag_latency, link.bandwidth)
    sent = 2 * (ranks - 1) / ranks * PARAMETERS * bytes_per_gradient
    slow_start = 2 * link.latency * math.log2(1 + sent / link.window)
    return max(compute + gradients + statistics + slow_start, flag)


def knee(compute: float, link: Link, bytes_per_gradient: int, share: float = 0.8) -> int:
    """The most ranks, as a power of two, that spend at least this share of a step on computing."""
    ranks = 1
    while ranks < 2**20:
        if compute / step_seconds(compute, 2 * ranks, link, bytes_per_gradient, FLAG_LATENCY) < share:
            break
        ranks *= 2
    return ranks


def main(compute: float = 0.1, gradients: Literal["fp32", "bf16"] = "fp32") -> None:
    """Predict 8, 64 and 512 ranks whose batch grows with them.

    Args:
        compute: Seconds that a rank computes per step, without any exchange.
        gradients: What they are exchanged as.
    """
    width = {"fp32": 4, "bf16": 2}[gradients]
    counts = (8, 64, 512)
    table = Table(title=f"step of {1000 * compute:g} ms of computing, {gradients} gradients: ms, efficiency")
    for heading in ("link", *map(str, counts), "knee (80 %)"):
        table.add_column(heading, justify="left" if heading == "link" else "right")
    for link in LINKS:
        times = [step_seconds(compute, ranks, link, width, FLAG_LATENCY) for ranks in counts]
        cells = [f"{1000 * time:.0f}, {100 * compute / time:.0f} %" for time in times]
        table.add_row(link.name, *cells, str(knee(compute, link, width)))
    Console(width=110).print(table)


if __name__ == "__main__":
    tyro.cli(main)
