"""The predictor against the plain one, on the same folder: speed, equal labels, and mIoU given masks.

    python -m benchmarks.prediction --checkpoint runs/x/best.pt --input FOLDER [--masks FOLDER]

Every round runs each variant once, in a fresh process, so that a machine whose speed drifts slows all alike.
Rates are pictures per second of the run itself, without loading; the ratio is the median of the rounds'.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deploy.export import export
from lisa.evaluation.metrics import Tally, figures

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """Compares the predictor with the plain one."""

    checkpoint: Path
    """best.pt of a training run."""
    input: Path
    """Folder of pictures of the size that the network was trained at."""
    masks: Path | None = None
    """Their label maps, for the change in mIoU."""
    rounds: int = 5
    """Runs of each variant."""


def plain(settings: Settings, output: Path) -> float:
    """Pictures per second of the plain predictor."""
    command = ["-m", "benchmarks.prediction.plain", "--checkpoint", str(settings.checkpoint)]
    command += ["--input", str(settings.input), "--output", str(output)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[0])


def ours(settings: Settings, model: Path, precision: str, output: Path) -> float:
    """Pictures per second of deploy/predict.py."""
    command = [str(ROOT / "deploy/predict.py"), "--model", str(model), "--input", str(settings.input)]
    command += ["--output", str(output), "--precision", precision, "--device", "cpu", "--overwrite"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    report = json.loads((output / "report.json").read_text())
    return report["done"] / report["seconds"]


def read_ids(path: Path) -> np.ndarray:
    """The ids in a palette PNG."""
    with Image.open(path) as image:
        return np.asarray(image)


def equal_labels(theirs: Path, mine: Path) -> float:
    """Share of pixels with the same id over all pictures."""
    equal = pixels = 0
    for path in sorted(theirs.glob("*.png")):
        ids = read_ids(path)
        equal += int((ids == read_ids(mine / path.name)).sum())
        pixels += ids.size
    return equal / pixels


def miou(predictions: Path, masks: Path) -> float:
    """mIoU of a folder of label maps, in percent."""
    paths = sorted(predictions.glob("*.png"))
    tally = Tally(len(paths))
    for index, path in enumerate(paths):
        prediction, truth = (
            torch.from_numpy(read_ids(folder / path.name).copy()) for folder in (predictions, masks)
        )
        tally.add(index, prediction, truth)
    return 100 * figures(tally)["miou"]


def compare(settings: Settings, folder: Path) -> Table:
    """Runs all variants in turn, round by round."""
    model = folder / "lisa.ts"
    precisions = list(export(settings.checkpoint, model)["parity"])
    rates: dict[str, list[float]] = {name: [] for name in ("plain", *precisions)}
    for _ in track(range(settings.rounds), "rounds", transient=True):
        rates["plain"].append(plain(settings, folder / "plain"))
        for name in precisions:
            rates[name].append(ours(settings, model, name, folder / name))
    table = Table("variant", "pictures/s", "ratio", "ratios", "equal labels", "mIoU")
    for name, values in rates.items():
        ratios = [rate / base for rate, base in zip(values, rates["plain"], strict=True)]
        table.add_row(
            name,
            f"{statistics.median(values):.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{100 * equal_labels(folder / 'plain', folder / name):.4f} %",
            "" if settings.masks is None else f"{miou(folder / name, settings.masks):.3f}",
        )
    return table


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.prediction")
    with tempfile.TemporaryDirectory() as folder:
        Console().print(compare(settings, Path(folder)))


if __name__ == "__main__":
    main()
