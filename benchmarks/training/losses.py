"""Forward and backward pass of the loss's terms, each alone and together, by size and by the logits' scale.

    python -m benchmarks.training.losses --sizes 256 512 --batch-size 4

Targets are drawn ellipses, logits are ``scale`` times the targets and smooth noise of deviation ``doubt``.
Scale 1 is a network that knows little, 10 one that is sure of nearly all it says. With a doubt of 0.7 six
pixels in ten are right, as early in training, with 0.35 nearly all, as in a trained network. The terms take
turns, and the least of the rounds counts. ``sort`` is Lovasz-softmax as other devices and compiled graphs
compute it. ``adds`` is what Lovasz adds to CE + Dice, as a share of them. As in training, glibc keeps freed
memory.
"""

import time
from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from deploy.predictor.machine import keep_freed_memory
from lisa.config import LossConfig
from lisa.labels import NUM_CLASSES
from lisa.losses import SegmentationLoss
from lisa.models.kernels.fast_path import plain_kernels

TERMS = {
    "CE": LossConfig(dice=0),
    "Dice": LossConfig(cross_entropy=0),
    "Lovasz": LossConfig(cross_entropy=0, dice=0, lovasz=1),
    "CE + Dice": LossConfig(),
    "all three": LossConfig(lovasz=1),
}


def make_batch(
    batch_size: int, size: int, scale: float, device: torch.device, doubt: float = 0.7
) -> tuple[Tensor, Tensor]:
    """Logits (B,C,size,size) in channels_last and targets (B,size,size) uint8."""
    grid = torch.linspace(-1, 1, size)
    rows, columns = grid[:, None], grid[None, :]
    target = torch.zeros(batch_size, size, size, dtype=torch.uint8)
    for picture in target:
        for index in range(1, NUM_CLASSES):
            top, left, tall, wide = (torch.rand(4) * torch.tensor([1.6, 1.6, 0.3, 0.3])).tolist()
            inside = ((rows - top + 0.8) / (tall + 0.05)) ** 2 + ((columns - left + 0.8) / (wide + 0.05)) ** 2
            picture[inside < 1] = index
    noise = F.interpolate(torch.randn(batch_size, NUM_CLASSES, size // 8, size // 8), size, mode="bilinear")
    logits = scale * (F.one_hot(target.long(), NUM_CLASSES).movedim(-1, 1) + doubt * noise)
    logits = logits.to(device).contiguous(memory_format=torch.channels_last)
    return logits.requires_grad_(), target.to(device)


def run(loss: SegmentationLoss, logits: Tensor, target: Tensor) -> float:
    """Milliseconds of one forward and backward pass."""
    logits.grad = None
    start = time.perf_counter()
    loss(logits, target).backward()
    if logits.device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def run_on_any_device(loss: SegmentationLoss, logits: Tensor, target: Tensor) -> float:
    """The same, without the CPU's fast paths."""
    with plain_kernels():
        return run(loss, logits, target)


def main(
    sizes: tuple[int, ...] = (256, 512),
    scales: tuple[float, ...] = (1.0, 4.0, 10.0),
    doubts: tuple[float, ...] = (0.7, 0.35),
    batch_size: int = 4,
    rounds: int = 5,
    threads: int = 1,
) -> None:
    """Prints the table.

    Args:
        sizes: Sides of the pictures, in pixels.
        scales: What the logits are multiplied with.
        doubts: How much noise is in them.
        batch_size: Pictures.
        rounds: Turns of each term.
        threads: CPU threads.
    """
    keep_freed_memory()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    works: dict[str, Callable[[Tensor, Tensor], float]] = {}
    for name, config in TERMS.items():
        loss = SegmentationLoss(config).to(device)
        works[name] = lambda logits, target, loss=loss: run(loss, logits, target)
        if name == "Lovasz" and device.type == "cpu":
            works["sort"] = lambda logits, target, loss=loss: run_on_any_device(loss, logits, target)
    title = f"forward and backward, ms, {batch_size} pictures on {device.type}"
    table = Table("size", "scale", "doubt", "right", *works, "adds", title=title)
    for size in sizes:
        for scale, doubt in product(scales, doubts):
            logits, target = make_batch(batch_size, size, scale, device, doubt)
            right = (logits.argmax(1) == target).float().mean().item()
            least = dict.fromkeys(works, float("inf"))
            for _ in range(rounds):
                for name, work in works.items():
                    least[name] = min(least[name], work(logits, target))
            adds = least["all three"] / least["CE + Dice"] - 1
            figures = (f"{least[name]:.0f}" for name in works)
            table.add_row(str(size), f"{scale:g}", f"{doubt:g}", f"{right:.0%}", *figures, f"{adds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
