"""Training against the plain loop, on the same pictures, batch and resolution: images per second end to end.

    python -m benchmarks.training --data FOLDER --size 512 --batch-size 4
    python -m benchmarks.training --data FOLDER --size 512 --batch-size 4 --profile OUTPUT

Every round runs each variant once, in fresh processes, so that a machine whose speed drifts slows all alike;
the ratio is the median of the rounds'. Ours is the report's recipe through launch.sh, its second epoch. Both
train where there is a GPU: the plain loop on one GPU, ours on all of them, or both on the CPU.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.data.links import link_faces
from lisa.system.process import KEEP_MEMORY

ROOT = Path(__file__).resolve().parents[2]
VALIDATION_PICTURES = 2


@dataclass(frozen=True)
class Settings:
    """Compares training with the plain loop, or profiles it."""

    data: Path
    """Folder of faces."""
    size: int = 512
    """Side of the pictures, in pixels."""
    batch_size: int = 4
    """Pictures a step."""
    steps: int = 8
    """Steps timed in each run."""
    rounds: int = 3
    """Runs of each variant."""
    networks: tuple[str, ...] = ("lisa",)
    """What ours trains, by names in timm's registry; the plain loop trains LISA."""
    profile: Path | None = None
    """Folder for a profile of one process, instead of the comparison: a table and trace.json for Chrome."""

    @property
    def pictures(self) -> int:
        """As many as the timed steps need."""
        return self.steps * self.batch_size


def plain(settings: Settings, data: Path) -> float:
    """Images per second of the plain loop."""
    command = [sys.executable, "-m", "benchmarks.training.plain", "--data", str(data)]
    command += ["--size", str(settings.size), "--batch-size", str(settings.batch_size)]
    command += ["--steps", str(settings.steps)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=_environment())
    return float(done.stdout.split()[0])


def ours(settings: Settings, data: Path, output: Path, network: str, processes: int) -> float:
    """Images per second of the report's recipe with this network in so many processes."""
    command = [str(ROOT / "launch.sh"), "report", "--data", str(data), "--output", str(output)]
    command += ["--size", str(settings.size), "--batch-size", str(settings.batch_size)]
    command += ["--epochs", "2", "--train.views", "1", "--model.name", network]
    environment = {**_environment(), "NPROC": str(processes)}
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [record["timing"] for record in records if record["event"] == "epoch"][1]["images_per_second"]


def _environment() -> dict[str, str]:
    """Both have all cores: torchrun and launch.sh share them out."""
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}


def compare(settings: Settings, folder: Path) -> Table:
    """Runs all variants in turn, round by round."""
    data = link_faces(settings.data, folder / "faces", settings.pictures, VALIDATION_PICTURES)
    processes = [torch.cuda.device_count()] if torch.cuda.is_available() else [1, 2]
    rates: dict[str, list[float]] = defaultdict(list)
    for number in track(range(settings.rounds), "rounds", transient=True):
        rates["plain"].append(plain(settings, data))
        for network, count in product(settings.networks, processes):
            output = folder / f"{network}-{count}-{number}"
            rates[f"{network}, {count} processes"].append(ours(settings, data, output, network, count))
    title = (
        f"training, {settings.size}x{settings.size}, batch {settings.batch_size}; plain is LISA's plain loop"
    )
    table = Table("variant", "images/s", "ratio", "ratios", title=title)
    for name, values in rates.items():
        ratios = [rate / base for rate, base in zip(values, rates["plain"], strict=True)]
        span = f"{min(ratios):.2f} to {max(ratios):.2f}"
        table.add_row(name, f"{statistics.median(values):.3f}", f"{statistics.median(ratios):.2f}", span)
    return table


def profile(settings: Settings, output: Path, folder: Path) -> None:
    """Profiles one process with launch.sh's allocator settings."""
    data = link_faces(settings.data, folder / "faces", settings.pictures, VALIDATION_PICTURES)
    command = [sys.executable, "-m", "benchmarks.training.profile", "--data", str(data)]
    command += ["--size", str(settings.size), "--batch-size", str(settings.batch_size)]
    command += ["--output", str(output.resolve())]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, **KEEP_MEMORY})


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.training")
    with tempfile.TemporaryDirectory() as folder:
        if settings.profile is not None:
            profile(settings, settings.profile, Path(folder))
        else:
            Console().print(compare(settings, Path(folder)))


if __name__ == "__main__":
    main()
