"""Images per second of the loader alone: decoding, workers, collating, pinning; with and without the cache.

    python -m benchmarks.data.loading --faces 400 --size 512

Compare with the images per second that a training step takes: a loader below that starves the accelerator.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from lisa.data.cache import open_faces
from lisa.data.epoch_batches import EpochBatches
from lisa.data.faces import DecodedFace, collate_same_size
from lisa.data.folders import find_pairs
from lisa.data.loader import begin_worker
from lisa.data.parallel import available_cores
from lisa.data.synthetic import write_dataset


def images_per_second(
    faces: Dataset[DecodedFace], count: int, workers: int, batch: int, epochs: int = 3
) -> float:
    """Speed of training's own loader over whole epochs, the workers' start included, after one to warm up."""
    batches = EpochBatches(count, batch, seed=0)
    loader = DataLoader(
        faces,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate_same_size,
        worker_init_fn=begin_worker,
        pin_memory=torch.cuda.is_available(),
    )
    for epoch in range(epochs + 1):
        batches.set_position(epoch)
        if epoch == 1:
            start = time.perf_counter()
        for _ in loader:
            pass
    return count * epochs / (time.perf_counter() - start)  # pyright: ignore[reportPossiblyUnboundVariable]


def main(
    faces: int = 400, size: int = 512, batch: int = 32, workers: Sequence[int] = (), data: Path | None = None
) -> None:
    """Time the loader.

    Args:
        faces: Synthetic faces to draw, if no data is given.
        size: Side of the pictures and of what the loader gives, in pixels.
        batch: Pictures a batch.
        workers: Numbers of workers to try; 0, 1 and all cores by default.
        data: A folder of faces to read instead; its train split is used.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = data or Path(folder) / "faces"
        if data is None:
            write_dataset(root, faces, seed=0, size=size)
        pairs = find_pairs(root, "train")
        decoded = open_faces(pairs, size)
        cached = open_faces(pairs, size, str(Path(folder) / "cache"))
        table = Table(title=f"images/s of the loader, {len(pairs)} faces at {size}x{size}, batch {batch}")
        for heading in ("workers", "decoding", "cached"):
            table.add_column(heading, justify="right")
        for number in workers or sorted({0, 1, available_cores()}):
            speeds = [images_per_second(source, len(pairs), number, batch) for source in (decoded, cached)]
            table.add_row(str(number), *(f"{speed:.0f}" for speed in speeds))
        Console().print(table)


if __name__ == "__main__":
    tyro.cli(main)
