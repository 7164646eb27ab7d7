"""Memory of a training step by batch size, with and without activation checkpointing, and its price in time.

    python -m benchmarks.training.memory --size 512 --batch-sizes 1 2 4

Each measurement is a process of its own. On the CPU memory is the process's peak, less what it held before
the first step; on a GPU what torch allocated. The price is the ratio of the second steps' times. bf16 where
training would take it.
"""

import multiprocessing
import resource
import time
from typing import NamedTuple

import torch
import tyro
from rich.console import Console
from rich.table import Table

from lisa.config import LossConfig, ModelConfig, OptimConfig
from lisa.labels import NUM_CLASSES
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.models.recompute import recompute_blocks
from lisa.training.optim import make_optimizer
from lisa.training.precision import multiplies_bf16


class Step(NamedTuple):
    """A measured step."""

    mebibytes: float
    seconds: float


def measure(size: int, batch_size: int, recompute: bool, threads: int) -> Step:
    """Two steps on random pictures: the peak of both, the time of the second."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build(ModelConfig()).train().to(device, memory_format=torch.channels_last)  # pyright: ignore
    if recompute:
        recompute_blocks(network)
    optimizer, loss_of = make_optimizer(network, OptimConfig()), SegmentationLoss(LossConfig())
    pictures = torch.randn(batch_size, 3, size, size, device=device)
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    masks = torch.randint(0, NUM_CLASSES, (batch_size, size, size), dtype=torch.uint8, device=device)
    before, seconds = _peak(device), 0.0
    for _ in range(2):
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bf16(device)):
            logits = network(pictures)
        optimizer.zero_grad(set_to_none=True)
        loss_of(logits, masks).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return Step(_peak(device) - before, seconds)


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main(size: int = 512, batch_sizes: tuple[int, ...] = (1, 2, 4), threads: int = 1) -> None:
    """Prints the table.

    Args:
        size: Side of the pictures, in pixels.
        batch_sizes: Pictures a step.
        threads: CPU threads.
    """
    title = f"memory of a training step of LISA at {size}x{size}"
    table = Table("batch", "MiB", "MiB with checkpointing", "ratio", "time, ratio", title=title)
    context = multiprocessing.get_context("spawn")
    for batch_size in batch_sizes:
        with context.Pool(1, maxtasksperchild=1) as pool:
            tasks = [(size, batch_size, recompute, threads) for recompute in (False, True)]
            plain, recomputed = pool.starmap(measure, tasks, chunksize=1)
        table.add_row(
            str(batch_size),
            f"{plain.mebibytes:.0f}",
            f"{recomputed.mebibytes:.0f}",
            f"{recomputed.mebibytes / plain.mebibytes:.2f}",
            f"{recomputed.seconds / plain.seconds:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
