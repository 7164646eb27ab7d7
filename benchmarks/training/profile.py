"""Where a training step's time goes: started by ``python -m benchmarks.training --profile OUTPUT``.

One process trains the report's recipe for two epochs; the second is profiled. On a GPU the parts' times are
those of their kernels, so that the wait for pictures, which is the CPU's, may overlap them.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from lisa.config import DataConfig, report
from lisa.training.loop import fit
from lisa.training.step import PARTS
from lisa.world import World


def record(data: Path, size: int, batch_size: int, output: Path) -> Table:
    """Trains, writes ``trace.json`` and ``profile.json`` into the output folder, returns the table."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_flush_denormal(True)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    profiler = profile(activities=activities)
    timing: dict[str, float] = {}

    def after_epoch(figures: dict[str, Any]) -> None:
        if figures["epoch"] == 1:
            profiler.start()
        else:
            profiler.stop()
            timing.update(figures["timing"])

    with tempfile.TemporaryDirectory() as run:
        recipe = report()
        config = replace(
            recipe,
            data=DataConfig(root=str(data), size=size),
            train=replace(recipe.train, batch_size=batch_size, epochs=2, views=1),
            output=run,
        )
        fit(config, World(device=device), on_epoch=after_epoch)
    # The loop's own clock: the profiler has run through the evaluation too, which waits for pictures as well.
    waited = timing["data_wait_share"] * timing["train_seconds"]
    seconds = {"data wait": waited, **_seconds(profiler, device)}
    output.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(output / "trace.json"))
    (output / "profile.json").write_text(json.dumps(seconds, indent=2) + "\n")
    total = sum(seconds.values())
    table = Table(
        "part", "seconds", "share", title=f"one epoch at {size}x{size}, batch {batch_size}, {device}"
    )
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}", f"{value / total:.1%}")
    return table


def _seconds(profiler: profile, device: torch.device) -> dict[str, float]:
    """Seconds per part of a step."""
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for event in profiler.key_averages():
        if event.key in PARTS:
            on_device = event.device_time_total if device.type == "cuda" else event.cpu_time_total
            seconds[event.key] = max(seconds[event.key], on_device / 1e6)
    return seconds


def main(data: Path, size: int, batch_size: int, output: Path) -> None:
    """Prints the table."""
    Console().print(record(data, size, batch_size, output))


if __name__ == "__main__":
    tyro.cli(main)
