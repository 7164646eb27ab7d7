"""launch.sh's reading of its variables, without starting anything; what a worker reads of its own."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from distributed import world
from distributed.exit import STATUS_FILE, STOPPED, started_before
from lisa.errors import InputError

ROOT = Path(__file__).parents[2]


def launch_environment(tmp_path: Path, variables: dict[str, str]) -> dict[str, str]:
    """Of this machine without its own launch variables, and with programs that stand in."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$2" = lisa.config.command_line ] || exec python3 "$@"\n')
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho localhost\necho node7\n")
    for program in (python, scontrol):
        program.chmod(0o755)
    mine = ("SLURM", "MASTER_", "NNODES", "NODE_RANK", "NPROC", "MAX_RESTARTS", "LISA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(mine)}
    wanted = {name: value for name, value in {"NPROC": "1", **variables}.items() if value}
    environment = {**kept, **wanted, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return environment


def dry_run(tmp_path: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """launch.sh --dry-run; the check of arguments, which takes seconds, is test_distributed.py's."""
    command = [str(ROOT / "launch.sh"), "--dry-run", "best"]
    environment = launch_environment(tmp_path, variables)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


SLURM = {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "x", "SLURM_JOB_ID": "40007"}


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["--nnodes=1", "--rdzv-endpoint=localhost:0", "--max-restarts=3"]),
        ({"MAX_RESTARTS": "0"}, ["--max-restarts=0"]),
        (
            {"NNODES": "1:4", "MASTER_ADDR": "localhost"},
            ["--nnodes=1:4", "--rdzv-endpoint=localhost:29500", "is_host=1", "--local-addr=localhost"],
        ),
        # As /etc/hosts gives a node's own name on Debian: reached from 127.0.0.1.
        ({"NNODES": "1:4", "MASTER_ADDR": "127.0.1.1"}, ["is_host=1", "--local-addr=127.0.1.1"]),
        # 192.0.2.0/24 is kept for documentation: nobody's address, so the rendezvous is elsewhere.
        ({"NNODES": "1:4", "MASTER_ADDR": "192.0.2.1"}, ["is_host=0"]),
        ({"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "localhost", "NPROC": "8"}, ["nproc-per-node=8 "]),
        (
            {**SLURM, "SLURM_NODEID": "1"},
            ["--nnodes=2", "--rdzv-endpoint=localhost:20007", "--rdzv-id=lisa-20007", "is_host=0"],
        ),
        (
            {"NPROC": "", "OMP_NUM_THREADS": "1"},
            [f"--nproc-per-node={min(2, len(os.sched_getaffinity(0)))} "],
        ),
        ({**SLURM, "SLURM_NODEID": "0", "MASTER_PORT": "1234"}, ["localhost:1234", "is_host=1"]),
    ],
)
def test_variables_become_the_line(tmp_path: Path, variables: dict[str, str], words: list[str]):
    result = dry_run(tmp_path, variables)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("torchrun ") == 1
    for word in words:
        assert word in result.stdout


TWO = {"NNODES": "2", "MASTER_ADDR": "localhost"}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NNODES": "many"}, "NNODES=many: a number of nodes, or a range"),
        ({"NNODES": "4:1", "MASTER_ADDR": "localhost"}, "NNODES=4:1: the smaller number first"),
        ({"NNODES": "1:4"}, "NNODES=1:4, but MASTER_ADDR is not set"),
        ({"MASTER_ADDR": "node0"}, "MASTER_ADDR=node0, but NNODES is not set"),
        ({**TWO, "NODE_RANK": "2"}, "NODE_RANK=2, but NNODES=2: the first node is 0, the last 1"),
        ({**TWO, "NODE_RANK": "first"}, "NODE_RANK=first: a whole number"),
        ({**TWO, "NODE_RANK": "0", "MASTER_PORT": "99999"}, "MASTER_PORT=99999: below 65536"),
        ({"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "no.such.host.invalid"}, "MASTER_ADDR=no.such"),
        ({"NPROC": "0"}, "NPROC=0: a whole number, at least 1"),
        ({"MAX_RESTARTS": "-1"}, "MAX_RESTARTS=-1: a whole number, at least 0"),
        ({"LISA_TIMEOUT": "5m"}, "LISA_TIMEOUT=5m: a whole number, at least 1"),
        (SLURM, "SLURM_NODEID is not set: under Slurm start with 'srun"),
    ],
)
def test_wrong_and_half_set_variables_are_refused_by_name(
    tmp_path: Path, variables: dict[str, str], message: str
):
    result = dry_run(tmp_path, variables)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert "torchrun" not in result.stdout


def test_a_stop_before_there_are_workers(tmp_path: Path):
    """torchrun imports torch for seconds and dies of the signal: for who started it, still a stop."""
    torchrun = tmp_path / "torchrun"
    torchrun.write_text("#!/bin/sh\nexec sleep 60\n")
    torchrun.chmod(0o755)
    command, environment = [str(ROOT / "launch.sh"), "best"], launch_environment(tmp_path, {})
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as launched:
        assert launched.stdout is not None
        assert launched.stdout.readline().startswith("torchrun ")
        time.sleep(1)
        launched.terminate()
        assert launched.wait(60) == STOPPED


def test_the_time_out_is_read_in_seconds(monkeypatch: pytest.MonkeyPatch):
    assert world.timeout() == timedelta(minutes=5)
    monkeypatch.setenv(world.TIMEOUT, "7")
    assert world.timeout() == timedelta(seconds=7)
    for wrong in ("0", "-1", "soon", "1.5", ""):
        monkeypatch.setenv(world.TIMEOUT, wrong)
        with pytest.raises(InputError, match="LISA_TIMEOUT"):
            world.timeout()


def test_workers_started_again_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Under launch.sh by the status file; under bare torchrun by its count."""
    monkeypatch.delenv(STATUS_FILE, raising=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not started_before()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert started_before()
    status = tmp_path / "status"
    status.touch()
    monkeypatch.setenv(STATUS_FILE, str(status))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not started_before()
    assert status.read_text() == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not started_before()
    assert started_before()


def test_a_stop_asked_for_during_the_imports_is_heard(tmp_path: Path):
    script = """
import os, signal
from distributed.exit import hold_stop_signals
hold_stop_signals()
os.kill(os.getpid(), signal.SIGTERM)
from distributed.world import open_world
with open_world() as world:
    print(world.stop_asked)
"""
    alone = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes for this machine's 2 GPUs: NPROC is at most 2"):
        world._device(3)  # pyright: ignore[reportPrivateUsage]
