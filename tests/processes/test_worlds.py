"""Training and evaluation by real processes under launch.sh and torchrun, on Gloo."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import distributed
from lisa.data.folders import find_pairs
from lisa.evaluation import evaluate as evaluation
from lisa.evaluation.metrics import figures
from lisa.evaluation.wrappers import FlipAveraged, Noisy
from lisa.run import checkpoint
from lisa.world import World

ROOT = Path(__file__).parents[2]
FLAGS = ("--size", "32", "--batch-size", "4", "--data.workers", "1", "--optim.ema-decay", "0.9")


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "MASTER_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}


def launch(*arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "launch.sh"), *map(str, arguments)]
    return subprocess.run(command, env=environment(**extra), capture_output=True, text=True, timeout=280)


def test_distributed_is_ours():
    """A wheel with a top-level "distributed" (dask's) must not stand before the checkout."""
    assert Path(distributed.__file__ or "").parent == ROOT / "distributed"


def test_dry_run_prints_the_line():
    single = launch("--dry-run", "report", "--data", "my faces")
    assert single.returncode == 0
    assert "--nproc-per-node=" in single.stdout
    assert single.stdout.rstrip().endswith("-m distributed.train report --data my\\ faces")
    several = launch("--dry-run", "report", NNODES="2", NODE_RANK="1", MASTER_ADDR="10.0.0.1", NPROC="8")
    assert "--nnodes=2 --nproc-per-node=8 " in several.stdout
    assert "--rdzv-backend=c10d --rdzv-endpoint=10.0.0.1:29500" in several.stdout
    assert "is_host=0" in several.stdout


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"NNODES": "2", "NODE_RANK": "0"}, "MASTER_ADDR is not set"),
        ({"NNODES": "2", "MASTER_ADDR": "a"}, "NODE_RANK is not set"),
        ({"NODE_RANK": "1"}, "NNODES is not set"),
    ],
)
def test_half_set_nodes_are_refused_by_name(extra: dict[str, str], message: str):
    result = launch("--dry-run", "report", **extra)
    assert result.returncode == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bst"], "no recipe 'bst'"),
        (["best", "--lr", "-1"], "optim.lr = -1.0: above 0"),
        (["best", "--no-such-flag", "1"], "--no-such-flag"),
    ],
)
def test_wrong_arguments_are_said_once_before_torchrun(arguments: list[str], message: str):
    result = launch(*arguments)
    assert result.returncode == 2
    assert result.stderr.count(message) == 1
    assert "Traceback" not in result.stderr
    assert "torchrun" not in result.stdout


def test_half_set_worker_environment_is_refused(make_faces: Callable[..., Path], tmp_path: Path):
    command = [sys.executable, "-m", "distributed.train", "best", "--data", str(make_faces())]
    result = subprocess.run(command, env=environment(RANK="0"), capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert result.stderr.startswith("error: RANK is set, but not LOCAL_RANK, WORLD_SIZE")


@pytest.mark.slow
def test_bad_data_is_one_line_and_exit_code_2(make_faces: Callable[..., Path], tmp_path: Path):
    root = make_faces()
    (root / "train/masks/2.png").write_bytes(b"")
    result = launch("best", "--data", root, "--output", tmp_path / "run", *FLAGS)
    assert result.returncode == 2
    assert result.stderr.count("1 of 4 pairs can't be used") == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def evaluate(best: Path, data: Path, output: Path, processes: int, *options: str) -> dict[str, Any]:
    command = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "distributed.evaluate"]
    command += ["--checkpoint", str(best), "--data", str(data), "--split", "val", "--output", str(output)]
    command += options
    subprocess.run(command, env=environment(), check=True, capture_output=True, cwd=ROOT, timeout=200)
    return json.loads(output.read_text())


@pytest.mark.slow
def test_two_processes_train_and_any_number_evaluates(make_faces: Callable[..., Path], tmp_path: Path):
    """Three processes for two pictures: one rank has nothing to evaluate."""
    root, run = make_faces(train=6), tmp_path / "run"
    result = launch("best", "--data", root, "--output", run, "--epochs", "2", *FLAGS, NPROC="2")
    assert result.returncode == 0, result.stderr
    assert "2 x cpu" in result.stdout
    assert "torch has no SyncBatchNorm for the CPU" in result.stdout
    files = ("best.pt", "last.pt", "config.json", "metrics.jsonl", "curves.png", "grid.png", "tensorboard")
    for name in files:
        assert (run / name).exists(), name
    printed = checkpoint.load(run / "best.pt")["metrics"]
    records = [evaluate(run / "best.pt", root, tmp_path / f"{n}.json", n) for n in (1, 2, 3)]
    assert records[0] == records[1] == records[2]
    for key in ("miou", "mean_f1", "report_f1", "boundary_miou", "iou", "f1", "boundary_iou"):
        assert records[0][key] == printed[key]
    assert records[0]["miou_interval"][0] <= records[0]["miou"] <= records[0]["miou_interval"][1]
    for name in ("confusion.png", "worst.png", "best.png"):
        assert (tmp_path / "3_pictures" / name).stat().st_size > 1000
    (tmp_path / "exclude.txt").write_text("val/images/1.png\n")
    one = evaluate(
        run / "best.pt", root, tmp_path / "one.json", 1, "--exclude", str(tmp_path / "exclude.txt")
    )
    assert list(one["picture_mious"]) == ["0"]
    options = ("--tta", "flip", "--noise", "20")
    changed = evaluate(run / "best.pt", root, tmp_path / "changed.json", 2, *options)
    network = Noisy(FlipAveraged(checkpoint.load_network(run / "best.pt").network), 32, 20)
    alone = figures(evaluation.evaluate(network, 32, find_pairs(root, "val"), World()).tally)
    assert alone["iou"] == changed["iou"] != records[0]["iou"]
    assert (changed["tta"], changed["noise"]) == ("flip", 20)
