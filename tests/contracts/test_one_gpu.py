"""One GPU does what the CPU does: trains, evaluates, predicts. Skipped where there is none."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from deploy_helpers import SIZE, calibrated_network, parse, read_ids, write_faces
from process_helpers import FLAGS, LONG, ROOT, environment

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.data.folders import find_pairs
from lisa.evaluation.evaluate import evaluate
from lisa.evaluation.metrics import figures
from lisa.face_parser import FaceParser
from lisa.run import checkpoint
from lisa.training.loop import fit
from lisa.world import World

pytestmark = pytest.mark.gpu

AGREEMENT = 0.999
"""Share of the labels that CPU and GPU have in common: convolutions sum in another order, and in TF32."""


@pytest.fixture
def on_gpu() -> World:
    return World(device=torch.device("cuda", 0))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_the_gpu_that_the_cpu_goes_on_with(
    make_faces: Callable[..., Path], tmp_path: Path, on_gpu: World, precision: str
):
    def config(epochs: int) -> Config:
        return Config(
            data=DataConfig(root=str(root), size=32, workers=1),
            model=ModelConfig(widths=(4, 8, 12, 16, 24)),
            optim=OptimConfig(name="muon", ema_decay=0.9),
            train=TrainConfig(epochs=epochs, batch_size=2, precision=precision),  # pyright: ignore[reportArgumentType]
            output=str(tmp_path / "run"),
        )

    root = make_faces(train=6)
    torch.cuda.reset_peak_memory_stats()
    assert fit(config(1), on_gpu).finished
    assert torch.cuda.max_memory_allocated() > 0
    assert fit(config(2), World(), resume=True).finished
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    epochs = [record for record in map(json.loads, lines) if "miou" in record]
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert all(0 <= record["miou"] <= 1 for record in epochs)
    weights = checkpoint.load(tmp_path / "run/best.pt")["weights"]
    assert all(weight.device.type == "cpu" and weight.isfinite().all() for weight in weights.values())


def test_labels_and_figures_are_the_cpus(make_faces: Callable[..., Path], on_gpu: World):
    network = calibrated_network(Config(data=DataConfig(size=SIZE)))
    pictures = torch.randint(0, 256, (4, 3, 90, 70), dtype=torch.uint8)
    parser = FaceParser(network, SIZE).eval()
    with torch.no_grad():
        expected = parser(pictures)
        found = parser.to(on_gpu.device)(pictures.to(on_gpu.device)).cpu()
    assert (found == expected).float().mean() >= AGREEMENT
    pairs = find_pairs(make_faces(), "val")
    theirs = figures(evaluate(network, SIZE, pairs, on_gpu).tally)
    ours = figures(evaluate(network.cpu(), SIZE, pairs, World()).tally)
    assert theirs["miou"] == pytest.approx(ours["miou"], abs=1e-3)


def test_the_predictor_writes_the_cpus_maps(model: Path, tmp_path: Path):
    write_faces(tmp_path / "in", 5, (90, 70))
    for device in ("cpu", "cuda", "auto"):
        assert parse(model, tmp_path / "in", tmp_path / device, "--device", device) == 0
    for index in range(5):
        expected = read_ids(tmp_path / f"cpu/face{index}.png")
        for device in ("cuda", "auto"):
            found = read_ids(tmp_path / device / f"face{index}.png")
            assert (found == expected).mean() >= AGREEMENT


def test_launch_counts_the_gpus_and_trains_on_one(make_faces: Callable[..., Path], tmp_path: Path):
    def launched(*words: object, **extra: str) -> str:
        command = [str(ROOT / "launch.sh"), *map(str, words)]
        kept = {name: value for name, value in environment(**extra).items() if value}
        done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=LONG, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "sees no GPU" not in done.stderr
        return done.stdout

    assert f"--nproc-per-node={torch.cuda.device_count()} " in launched("--dry-run", "best", NPROC="")
    flags = ("--data", make_faces(), "--output", tmp_path / "run", "--epochs", "1", *FLAGS)
    assert "1 x cuda" in launched("best", *flags, NPROC="1")
