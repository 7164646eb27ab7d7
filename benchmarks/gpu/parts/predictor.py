"""The exported file: one size and many, TorchScript's fuser, streams, precision; and the plain loop."""

import json
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import timed
from benchmarks.gpu.steps import config_of
from benchmarks.prediction.__main__ import equal_labels
from benchmarks.prediction.plain import predict
from deploy.export import export
from deploy.predictor.command import main as predict_folder
from deploy.predictor.model import ExportedModel
from deploy.predictor.pictures import Pixels
from lisa.data.folders import find_pairs
from lisa.training.loop import fit
from lisa.world import World

FUSER = [("DYNAMIC", 10)]
"""A strategy that compiles for shapes it does not know beforehand."""

GPU_BATCH = 16

SIZES = 50
"""Different sizes in a folder of many, a pixel apart: equal work, but a shape each."""


def run(bench: Bench) -> None:
    """The model alone, then whole runs of the command against the plain predictor."""
    scratch = Path(bench.output) / "scratch"
    size = bench.pick(512, 64)
    checkpoint = train_briefly(bench, scratch / "run", size)
    model = scratch / "lisa.ts"
    count = bench.pick(320, 3)
    folders = {
        "one size": write_pictures(bench, scratch / "one", [size] * count),
        "many sizes": write_pictures(bench, scratch / "many", [size + n % SIZES for n in range(count)]),
    }
    export(checkpoint, model, folders["one size"])
    plain = scratch / "plain"  # first: the model alone sets torch's switches for TF32
    rate = predict(checkpoint, folders["one size"], plain, bench.device)
    bench.row("whole runs", pictures="one size", what="plain loop", pictures_per_second=rate)
    for name, folder in folders.items():
        for precision in bench.pick(("fp32", "tf32", "bf16"), ("fp32",)):
            for fuser in (False, True):
                if bench.no_time(f"the model alone, {name}, {precision}"):
                    break
                model_alone(bench, model, folder, name, precision, fuser)
    for name, folder in folders.items():
        for precision in bench.pick(("fp32", "bf16"), ("fp32",)):
            for workers in bench.pick((4, 8, 16), (1,)):
                if bench.no_time(f"{workers} streams, {name}, {precision}"):
                    return
                whole_run(bench, model, folder, name, precision, workers, plain)


def train_briefly(bench: Bench, output: Path, size: int) -> Path:
    """A checkpoint of a network that has seen a few pictures."""
    config = config_of("report --train.views 1", bench, size=size, workers=bench.pick(8, 0))
    config = replace(
        config, train=replace(config.train, epochs=1, batch_size=bench.pick(16, 2)), output=str(output)
    )
    fit(config, World(device=bench.device))
    return output / "best.pt"


def write_pictures(bench: Bench, folder: Path, sides: list[int]) -> Path:
    """Validation pictures as square JPEGs of these sides, repeated as often as needed."""
    folder.mkdir(parents=True)
    pairs = find_pairs(bench.data, "val")
    for number, side in enumerate(sides):
        with Image.open(pairs[number % len(pairs)].image) as picture:
            resized = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        resized.save(folder / f"{number}.jpg", quality=95)
    return folder


def model_alone(bench: Bench, path: Path, folder: Path, name: str, precision: str, fuser: bool) -> None:
    """Batches of one size, without decoding or writing: the first pass, which may compile, and the second."""
    model = ExportedModel(path, bench.device, precision)
    if fuser:  # the predictor switches it off when it loads a model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated upstream
            torch.jit.set_fusion_strategy(FUSER)
    batches = decoded(folder, bench.pick(GPU_BATCH, 1))
    count = sum(len(batch) for batch in batches)

    def work() -> None:
        for batch in batches:
            model(batch)

    first, second = timed(work, bench.device), timed(work, bench.device)
    bench.row(
        "the model alone",
        pictures=name,
        precision=precision,
        fuser=fuser,
        first_pass_s=first,
        pictures_per_second=count / second,
    )


def decoded(folder: Path, batch: int) -> list[Pixels]:
    """The folder's pictures in batches (B,H,W,3) of one size."""
    by_size: dict[tuple[int, ...], list[Pixels]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        by_size[pixels.shape].append(pixels)
    return [
        np.stack(group[start : start + batch])
        for group in by_size.values()
        for start in range(0, len(group), batch)
    ]


def whole_run(
    bench: Bench, model: Path, folder: Path, name: str, precision: str, workers: int, plain: Path
) -> None:
    """The command on a folder: decoding, network, writing."""
    output = folder.parent / f"parsed_{folder.name}_{precision}_{workers}"
    options = ["--model", str(model), "--input", str(folder), "--output", str(output)]
    options += ["--device", bench.device_name, "--precision", precision, "--workers", str(workers)]
    options += ["--faces", "frame"]
    seconds, code = with_result(lambda: predict_folder(options))
    if code != 0:
        raise RuntimeError(f"the predictor ended with {code}: {' '.join(options)}")
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    busy = sum(report["split"].values())
    bench.row(
        "whole runs",
        pictures=name,
        what=precision,
        streams=float(workers),
        pictures_per_second=report["pictures_per_second"],
        **{f"{part}_share": value / busy for part, value in report["split"].items()},
        seconds_in_all=seconds,
        labels_equal_to_the_plain_loop=equal_labels(plain, output) if name == "one size" else None,
    )


def with_result(work: Callable[[], int]) -> tuple[float, int]:
    """Seconds, and what it returns."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
