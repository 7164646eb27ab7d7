"""Training and evaluation by real processes under launch.sh and torchrun, on Gloo."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import run_ranks
from process_helpers import FLAGS, LONG, ROOT, environment

from distributed.evaluate import main as evaluation_command
from lisa.data.folders import find_pairs
from lisa.evaluation import evaluate as evaluation
from lisa.evaluation.metrics import figures
from lisa.evaluation.wrappers import FlipAveraged, Noisy
from lisa.labels.celebamask import CELEBAMASK
from lisa.run import checkpoint
from lisa.world import World


def launch(*arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "launch.sh"), *map(str, arguments)]
    return subprocess.run(command, env=environment(**extra), capture_output=True, text=True, timeout=LONG)


def test_a_stop_asked_for_during_the_imports_is_heard():
    script = """
import os, signal
from distributed.exit import hold_stop_signals
hold_stop_signals()
os.kill(os.getpid(), signal.SIGTERM)
from distributed.world import open_world
with open_world() as world:
    print(world.stop_asked)
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=LONG, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr


def test_a_workers_bad_input_is_one_line(make_faces: Callable[..., Path]):
    result = run_ranks("distributed.train", "best", "--data", make_faces(), processes=0, RANK="0")
    assert result.returncode == 2
    assert result.stderr.startswith("error: RANK is set, but not LOCAL_RANK, WORLD_SIZE")
    assert result.stderr.count("\n") == 1


def test_a_rank_that_fails_prints_its_line_and_leaves_though_teardown_would_wait(tmp_path: Path):
    (tmp_path / "failing.py").write_text("""
import sys, time
import torch.distributed as dist
from distributed.exit import finish
from distributed.world import open_world

def main():
    with open_world() as world:
        dist.destroy_process_group = lambda *group: time.sleep(10_000)
        if world.rank == 1:
            raise RuntimeError("the cable is gone")
        world.barrier()
    return 0

finish(main)
""")
    command = ["torchrun", "--standalone", "--nproc-per-node=2", str(tmp_path / "failing.py")]
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=LONG, cwd=ROOT
    )
    assert result.returncode != 0
    assert re.search(r"error: rank 1 on \S+ failed: RuntimeError: the cable is gone", result.stderr)
    assert re.search(r"error: rank 0 on \S+ failed: ", result.stderr)  # the other one learns of it


@pytest.mark.slow
def test_bad_data_is_one_line_and_exit_code_2(make_faces: Callable[..., Path], tmp_path: Path):
    root = make_faces()
    (root / "train/masks/2.png").write_bytes(b"")
    result = run_ranks("distributed.train", "best", "--data", root, "--output", tmp_path / "run", *FLAGS)
    assert result.returncode == 2
    assert result.stderr.count("1 of 4 pairs can't be used") == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def evaluate(best: Path, data: Path, output: Path, processes: int, *options: str) -> dict[str, Any]:
    asked = ("--checkpoint", best, "--data", data, "--split", "val", "--output", output, *options)
    done = run_ranks("distributed.evaluate", *asked, processes=processes)
    assert done.returncode == 0, done.stderr
    return json.loads(output.read_text())


@pytest.mark.slow
def test_two_processes_train_and_any_number_evaluates(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Three processes for two pictures: one rank has nothing to evaluate."""
    root, run = make_faces(train=6), tmp_path / "run"
    result = launch("best", "--data", root, "--output", run, "--epochs", "2", *FLAGS, NPROC="2")
    assert result.returncode == 0, result.stderr
    assert "2 x cpu" in result.stdout
    assert "statistics span all processes on GPUs alone" in result.stdout
    files = ("best.pt", "last.pt", "config.json", "metrics.jsonl", "curves.png", "grid.png", "tensorboard")
    for name in files:
        assert (run / name).exists(), name
    printed = checkpoint.load(run / "best.pt")["metrics"]

    def evaluate_here(output: Path, *options: str) -> dict[str, Any]:
        asked = ["--checkpoint", str(run / "best.pt"), "--data", str(root), "--output", str(output), *options]
        monkeypatch.setattr("sys.argv", ["evaluate", *asked])
        evaluation_command()
        return json.loads(output.read_text())

    alone = evaluate_here(tmp_path / "1.json")
    records = [alone, evaluate(run / "best.pt", root, tmp_path / "3.json", 3)]
    assert records[0] == records[1]
    for key in ("miou", "mean_f1", "report_f1", "boundary_miou", "iou", "f1", "boundary_iou"):
        assert records[0][key] == printed[key]
    assert records[0]["miou_interval"] is None  # of two pictures
    for name in ("confusion.png", "worst.png", "best.png"):
        assert (tmp_path / "3_pictures" / name).stat().st_size > 1000
    (tmp_path / "exclude.txt").write_text("val/images/1.png\n")
    one = evaluate_here(tmp_path / "one.json", "--exclude", str(tmp_path / "exclude.txt"))
    assert list(one["picture_mious"]) == ["0"]
    options = ("--tta", "flip", "--noise", "20")
    changed = evaluate(run / "best.pt", root, tmp_path / "changed.json", 2, *options)
    network = Noisy(FlipAveraged(checkpoint.load_network(run / "best.pt").network, CELEBAMASK), 32, 20)
    expected = figures(evaluation.evaluate(network, 32, find_pairs(root, "val"), World()).tally)
    assert expected["iou"] == changed["iou"] != records[0]["iou"]
    assert (changed["tta"], changed["noise"]) == ("flip", 20)
