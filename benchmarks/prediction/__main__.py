"""The predictor's engines beside the plain one, on one folder: speed, labels, memory, and mIoU given masks.

    python -m benchmarks.prediction --checkpoint runs/x/best.pt --input FOLDER [--masks FOLDER]

The engines are torch, ONNX Runtime, and OpenVINO where it is installed; where there is a C++ compiler, the
plain predictor compiled by torch.compile in bf16 is another peer. Every round runs each variant once, in a
fresh process, so that a machine whose speed drifts slows all alike. Rates are pictures per second of the run
itself, without loading; the ratio is the median of the rounds'.
"""

import importlib.util
import json
import shutil
import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.processes import Ended, run_together
from deploy.predictor.machine import cpu_has_bf16
from lisa.evaluation.metrics import Tally, figures
from lisa.labels.celebamask import CELEBAMASK


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


def plain(settings: Settings, output: Path, compiled: bool) -> tuple[float, Ended]:
    """Pictures per second of the plain predictor, and its process."""
    command = ["-m", "benchmarks.prediction.plain", "--checkpoint", str(settings.checkpoint.resolve())]
    command += ["--input", str(settings.input.resolve()), "--output", str(output)]
    (ended,) = run_together([[*command, *(["--compiled"] if compiled else [])]])
    return float(ended.output.split()[-2]), ended


def ours(settings: Settings, model: Path, runtime: str, precision: str, output: Path) -> tuple[float, Ended]:
    """Pictures per second of deploy/predict.py, and its process."""
    command = ["deploy/predict.py", "--model", str(model), "--input", str(settings.input.resolve())]
    command += ["--faces", "frame", "--output", str(output), "--runtime", runtime, "--precision", precision]
    (ended,) = run_together([[*command, "--device", "cpu", "--overwrite"]])
    report = json.loads((output / "report.json").read_text())
    return report["done"] / report["seconds"], ended


def engines() -> dict[str, tuple[str, str]]:
    """Runtime and precision of what this machine can run, by name."""
    precisions = ("fp32", "bf16") if cpu_has_bf16() else ("fp32",)
    found = {precision: ("torch", precision) for precision in precisions}
    found["ONNX Runtime fp32"] = ("onnxruntime", "fp32")
    if importlib.util.find_spec("openvino") is not None:
        found |= {f"OpenVINO {precision}": ("openvino", precision) for precision in precisions}
    return found


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
    tally = Tally(len(paths), CELEBAMASK)
    for index, path in enumerate(paths):
        prediction, truth = (
            torch.from_numpy(read_ids(folder / path.name).copy()) for folder in (predictions, masks)
        )
        tally.add(index, prediction, truth)
    return 100 * figures(tally)["miou"]


def compare(settings: Settings, folder: Path) -> Table:
    """Runs all variants in turn, round by round."""
    # In a process of its own: this one's memory would hide that of the programs that it measures.
    exporting = ["-m", "deploy.export", "--checkpoint", str(settings.checkpoint.resolve())]
    run_together([[*exporting, "--output", str(folder / "lisa.ts"), "--also", "onnx"]])
    peers = ["plain"] + ["plain, compiled bf16"] * (cpu_has_bf16() and shutil.which("g++") is not None)
    rates: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, float] = defaultdict(float)
    for _ in track(range(settings.rounds), "rounds", transient=True):
        runs = {name: plain(settings, folder / name, compiled=name != "plain") for name in peers}
        for name, (runtime, precision) in engines().items():
            model = folder / ("lisa.ts" if runtime == "torch" else "lisa.onnx")
            runs[name] = ours(settings, model, runtime, precision, folder / name)
        for name, (rate, ended) in runs.items():
            rates[name].append(rate)
            if ended.peak_mib > peaks[name]:  # never, if it is hidden
                peaks[name] = ended.peak_mib
    table = Table("variant", "pictures/s", "ratio", "ratios", "equal labels", "peak MiB", "mIoU")
    for name, values in rates.items():
        ratios = [rate / base for rate, base in zip(values, rates["plain"], strict=True)]
        table.add_row(
            name,
            f"{statistics.median(values):.2f}",
            f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
            f"{100 * equal_labels(folder / 'plain', folder / name):.4f} %",
            f"{peaks[name]:.0f}" if peaks[name] else "hidden",
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
