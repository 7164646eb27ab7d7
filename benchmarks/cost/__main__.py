"""What a picture costs in each network, and the least that it could cost on this machine.

    python -m benchmarks.cost --networks lisa lisa_fold4 --size 512 --folder FOLDER --prepare
    python -m benchmarks.cost --networks lisa lisa_fold4 --size 512 --folder FOLDER

The first command exports networks with random weights, the second measures, and should have the machine for
itself. Each round runs every network on every engine once, and through the plain predictor: the ratios are
to its rate in the same round. Rates are of all cores: training runs a process per core, the predictor a
stream per core. The floor is what the counted operations or the counted values take (each value written
once and read once, in bf16), whichever is more, at the rates of a bf16 matrix product and of a copy,
measured on all cores.
"""

import json
import os
import platform
import re
import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from benchmarks.cost.counts import Counts, count
from benchmarks.gpu.measure import seconds_per_call
from benchmarks.processes import run_together
from deploy.export import export, export_as
from deploy.predictor.machine import cores
from lisa.config import Config, DataConfig, ModelConfig
from lisa.data.synthetic import draw_face
from lisa.face_parser import FaceParser
from lisa.models import build, count_parameters
from lisa.run.checkpoint import payload, save
from lisa.system.process import KEEP_MEMORY

CPU = torch.device("cpu")

ENGINES = {
    "torch fp32": (".ts", "torch", "fp32"),
    "torch bf16": (".ts", "torch", "bf16"),
    "ONNX Runtime fp32": (".onnx", "onnxruntime", "fp32"),
    "OpenVINO fp32": (".onnx", "openvino", "fp32"),
    "OpenVINO bf16": (".onnx", "openvino", "bf16"),
}
"""Suffix of the file, --runtime and --precision of the predictor."""

PLAIN = "plain fp32"


Found = dict[tuple[str, str], list[tuple[float, float]]]
"""By network and kind of work: each round's pictures per second, and peak memory in MiB."""


@dataclass(frozen=True)
class Settings:
    """Counts and measures networks."""

    folder: Path
    """Where the exported networks and the pictures lie."""
    networks: tuple[str, ...] = ("lisa", "lisa_fold4")
    """By their names in timm's registry."""
    size: int = 512
    """Side of the pictures, in pixels."""
    pictures: int = 16
    """So many drawn faces are predicted in a round."""
    rounds: int = 3
    """Runs of each network on each engine."""
    prepare: tyro.conf.FlagCreatePairsOff[bool] = False
    """Export, and measure nothing."""


def prepare(settings: Settings) -> None:
    """Faces, and each network as .ts and .onnx."""
    faces = settings.folder / "faces"
    faces.mkdir(parents=True, exist_ok=True)
    for seed in range(settings.pictures):
        Image.fromarray(draw_face(seed, settings.size)[0]).save(faces / f"{seed}.jpg", quality=95)
    for name in settings.networks:
        config = Config(
            data=DataConfig(root=str(settings.folder / "none"), size=settings.size),
            model=ModelConfig(name=name),
        )
        checkpoint = settings.folder / f"{name}.pt"
        save(payload(settled(config).state_dict(), config, {}), checkpoint)
        export(checkpoint, checkpoint.with_suffix(".ts"))
        export_as("onnx", checkpoint, checkpoint.with_suffix(".onnx"))


def settled(config: Config) -> nn.Module:
    """Random weights, whose BatchNorms have seen faces: without, features grow from block to block."""
    torch.manual_seed(0)
    size = min(config.data.size, 128)
    parser = FaceParser(build(config.model), size).train()
    faces = torch.stack([torch.from_numpy(draw_face(seed, size)[0].copy()) for seed in range(2)])
    with torch.no_grad():
        for _ in range(20):  # running statistics keep 0.9 of what they were
            parser.logits(faces.permute(0, 3, 1, 2))
    return parser.network.eval()


def training_rate(name: str, size: int) -> tuple[float, float]:
    """Pictures per second of one process per core together, and one's peak memory in MiB."""
    command = ["-m", "benchmarks.cost.step", "--network", name, "--size", str(size)]
    ended = run_together([command] * cores(), {**KEEP_MEMORY, "OMP_NUM_THREADS": "1"})
    return sum(float(one.output.split()[0]) for one in ended), max(one.peak_mib for one in ended)


def prediction_rate(settings: Settings, name: str, engine: str) -> tuple[float, float]:
    """Pictures per second of the predictor, without loading, and its peak memory in MiB."""
    suffix, runtime, precision = ENGINES[engine]
    output = settings.folder / "parsed" / f"{name} {engine}"
    command = ["deploy/predict.py", "--model", str(settings.folder / f"{name}{suffix}"), "--device", "cpu"]
    command += ["--faces", "frame"]
    command += ["--input", str(settings.folder / "faces"), "--output", str(output), "--overwrite"]
    (ended,) = run_together([[*command, "--runtime", runtime, "--precision", precision]])
    report = json.loads((output / "report.json").read_text())
    return report["done"] / report["seconds"], ended.peak_mib


def plain_rate(settings: Settings, name: str) -> tuple[float, float]:
    """The same of the plain predictor."""
    command = ["-m", "benchmarks.prediction.plain", "--checkpoint", str(settings.folder / f"{name}.pt")]
    command += ["--input", str(settings.folder / "faces")]
    (ended,) = run_together([[*command, "--output", str(settings.folder / "parsed" / f"{name} plain")]])
    return float(ended.output.split()[0]), ended.peak_mib


def floor_ms(counts: Counts, bandwidth: float, rate: float) -> float:
    """The least milliseconds of a picture: values are written and read, two bytes each."""
    return 1000 * max(counts.operations / rate, 4 * counts.values / bandwidth)


def machine_rates() -> tuple[float, float]:
    """Bytes per second of a copy, read and written, and operations per second of a bf16 product."""
    source = torch.ones(2**28, dtype=torch.uint8)
    target = torch.empty_like(source)
    bandwidth = 2 * len(source) / seconds_per_call(lambda: target.copy_(source), CPU)
    matrix = torch.randn(2048, 2048).bfloat16()
    return bandwidth, 2 * 2048**3 / seconds_per_call(lambda: matrix @ matrix, CPU)


def processor() -> str:
    """The CPU's name."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def ratio(found: Found, name: str, engine: str) -> str:
    """The median of the rounds' ratios to the plain predictor, and their range."""
    ratios = [
        rate / plain for (rate, _), (plain, _) in zip(found[name, engine], found[name, PLAIN], strict=True)
    ]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def measure(settings: Settings) -> Table:
    """All rounds, then the table."""
    found: Found = defaultdict(list)
    for _ in track(range(settings.rounds), "rounds", transient=True):
        for name in settings.networks:
            found[name, "training"].append(training_rate(name, settings.size))
            found[name, PLAIN].append(plain_rate(settings, name))
            for engine in ENGINES:
                found[name, engine].append(prediction_rate(settings, name, engine))
    bandwidth, rate = machine_rates()  # now: a program's peak is never below this process's size at its start
    title = (
        f"a picture of {settings.size}x{settings.size}, {processor()}, {cores()} cores: "
        f"{bandwidth / 1e9:.1f} GB/s, {rate / 1e9:.0f} GFLOP/s in bf16"
    )
    table = Table("", *settings.networks, title=title)
    networks = {name: build(ModelConfig(name=name)).eval() for name in settings.networks}
    counts = {name: count(network, settings.size) for name, network in networks.items()}
    table.add_row("parameters", *(f"{count_parameters(network):,}" for network in networks.values()))
    table.add_row("GFLOP", *(f"{one.operations / 1e9:.2f}" for one in counts.values()))
    table.add_row("values written, millions", *(f"{one.values / 1e6:.0f}" for one in counts.values()))
    floors = (floor_ms(one, bandwidth, rate) for one in counts.values())
    table.add_row("floor, pictures/s", *(f"{1000 / ms:.0f}" for ms in floors))
    for kind in ("training", PLAIN, *ENGINES):
        rows = [found[name, kind] for name in settings.networks]
        rates = [f"{statistics.median(rate for rate, _ in row):.2f}" for row in rows]
        table.add_row(f"{kind}, pictures/s", *rates)
        if kind in ENGINES:
            table.add_row("  to the plain one", *(ratio(found, name, kind) for name in settings.networks))
        table.add_row("  peak MiB", *(f"{max(peak for _, peak in row):.0f}" for row in rows))
    return table


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.cost")
    settings = replace(settings, folder=settings.folder.resolve())
    if settings.prepare:
        prepare(settings)
        return
    Console(width=max(100, int(os.environ.get("COLUMNS", "0")))).print(measure(settings))


if __name__ == "__main__":
    main()
