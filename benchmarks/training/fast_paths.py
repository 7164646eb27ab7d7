"""Training on the fast paths, in fp32 and bf16, against torch's own kernels: equal ends within seeds' noise.

    python -m benchmarks.training.fast_paths --data FOLDER --size 64 --epochs 4 --seeds 3

One process of one thread; a seed's trainings start from the same weights and see the same batches.
"""

import statistics
import tempfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table

from lisa.config import Config, best
from lisa.models.kernels.fast_path import plain_kernels
from lisa.training.loop import fit
from lisa.world import World


def last_miou(config: Config, plain: bool) -> float:
    """Val mIoU after the last epoch, in percent."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    mious: list[float] = []
    with plain_kernels() if plain else nullcontext():
        fit(config, World(), on_epoch=lambda record: mious.append(100 * record["miou"]))
    return mious[-1]


def main(data: Path, size: int = 64, epochs: int = 4, seeds: int = 3) -> None:
    """Prints the table.

    Args:
        data: Folder of faces.
        size: Side that the network sees, in pixels.
        epochs: Passes over the training split.
        seeds: Trainings on each path.
    """
    recipe = best()
    ends: dict[str, list[float]] = {"fast, bf16": [], "fast, fp32": [], "plain, fp32": []}
    for seed in range(seeds):
        for name, values in ends.items():
            with tempfile.TemporaryDirectory() as run:
                config = replace(
                    recipe,
                    data=replace(recipe.data, root=str(data), size=size),
                    train=replace(recipe.train, epochs=epochs, seed=seed, precision=name[-4:]),
                    optim=replace(recipe.optim, ema_decay=0.98),
                    output=run,
                )
                values.append(last_miou(config, plain=name.startswith("plain")))
    table = Table("path", *(f"seed {seed}" for seed in range(seeds)), "mean", title="val mIoU after training")
    for name, values in ends.items():
        table.add_row(name, *(f"{value:.2f}" for value in values), f"{statistics.mean(values):.2f}")
    Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
