"""Faults with real processes on Gloo: none hangs, none costs more than the steps since a checkpoint."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import Ended, run_ranks
from process_helpers import (
    FLAGS,
    LONG,
    agent_of,
    alive,
    children,
    descendants,
    start,
    wait_until,
    worker_of,
)
from resume_helpers import assert_same_run, records

from lisa.run import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NARROW = ("--model.widths", "4", "8", "12", "16", "24")
EVERY = ("--checkpoint-every", "2steps")


def flags(root: Path, run: Path, epochs: int = 8) -> list[str]:
    where = ["--data", str(root), "--output", str(run), "--train.patience", "100000"]
    return ["best", *where, "--epochs", str(epochs), *FLAGS, *NARROW, *EVERY]


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


class Watched:
    """A launch of a run whose checkpoints can be waited for."""

    def __init__(self, root: Path, run: Path, epochs: int = 8, **extra: str) -> None:
        self.last = run / "last.pt"
        self.before = self.stamp()
        self.launch = start(*flags(root, run, epochs), "--resume", **extra)

    def stamp(self) -> int:
        return self.last.stat().st_mtime_ns if self.last.exists() else 0

    def wait_for_checkpoint(self) -> None:
        """Returns when it has saved since the start, or since the last such call."""
        wait_until(lambda: self.stamp() != self.before or self.launch.poll() is not None, "a checkpoint")
        if self.launch.poll() is not None:
            pytest.fail("it ended instead:\n" + "\n".join(self.launch.communicate()))
        self.before = self.stamp()

    def end(self) -> tuple[int, str, str]:
        output, errors = self.launch.communicate(timeout=LONG)
        return self.launch.returncode, output, errors


def test_signals_and_a_killed_worker_leave_no_trace(make_faces: Callable[..., Path], tmp_path: Path):
    """INT, USR1, then kill -9 of a worker with one restart: bit-equal to the undisturbed run.

    The workers meet TERM here too: it is what the launch makes of INT.
    """
    root, run = make_faces(train=12), tmp_path / "parts"
    whole = run_ranks("distributed.train", *flags(root, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    watched = Watched(root, run)
    watched.wait_for_checkpoint()
    watched.launch.send_signal(signal.SIGINT)
    interrupted = Ended(*watched.end())
    before = watched.stamp()

    def warn(pids: list[int]) -> None:
        """As Slurm does, one rank."""
        wait_until(lambda: watched.stamp() != before, "a checkpoint")
        os.kill(pids[1], signal.SIGUSR1)

    warned = run_ranks("distributed.train", *flags(root, run), "--resume", meanwhile=warn)
    for ended in (interrupted, warned):
        assert ended.returncode == 75, ended.stderr
        assert "go on with --resume" in ended.stdout
        assert "Traceback" not in ended.stderr
    watched = Watched(root, run, MAX_RESTARTS="1")
    watched.wait_for_checkpoint()
    os.kill(worker_of(watched.launch, 1), signal.SIGKILL)
    code, output, errors = watched.end()
    assert code == 0, errors
    assert output.count("parameters; 12 training") == 2  # it started twice
    assert_same_run(tmp_path / "whole", run)
    told = summary(run)
    assert told["restarts"] == 3
    assert [start.get("how") for start in told["starts"]] == ["stopped"] * 2 + [None, "finished"]
    assert len(told["starts"][0]["hosts"]) == 2
    assert told["best"]["miou"] == checkpoint.load(run / "best.pt")["metrics"]["miou"]
    for rank in (0, 1):
        assert f"rank {rank} of 2 on " in (run / f"logs/rank{rank}.log").read_text()


def test_no_restart_a_second_run_a_dead_agent_a_dead_launcher_and_one_process_less(
    make_faces: Callable[..., Path], tmp_path: Path
):
    root, run = make_faces(train=12), tmp_path / "run"
    watched = Watched(root, run, epochs=10000, MAX_RESTARTS="0")
    watched.wait_for_checkpoint()
    refused = run_ranks("distributed.train", *flags(root, run), "--resume", processes=0)
    assert refused.returncode == 2
    holder = worker_of(watched.launch, 0)
    assert re.fullmatch(rf"error: {run}: process {holder} on \S+ trains into it; .*\n", refused.stderr)
    os.kill(worker_of(watched.launch, 1), signal.SIGKILL)
    code, _, errors = watched.end()
    assert code not in (0, 75)
    assert re.search(r"rank\s*: 1 \(local_rank: 1\)", errors), errors
    assert "error: rank 0 on " in errors  # what the other one saw

    watched = Watched(root, run, epochs=10000)
    watched.wait_for_checkpoint()
    agent = agent_of(watched.launch)
    below = descendants(agent)
    assert len(children(agent)) == 2
    os.kill(agent, signal.SIGKILL)
    watched.launch.communicate(timeout=LONG)
    wait_until(lambda: not [pid for pid in below if alive(pid)], "the workers' end")
    assert summary(run)["starts"][-1]["how"] == "stopped"

    watched = Watched(root, run, epochs=10000)
    watched.wait_for_checkpoint()
    below = descendants(watched.launch.pid)
    watched.launch.kill()
    watched.launch.communicate(timeout=LONG)
    wait_until(lambda: not [pid for pid in below if alive(pid)], "the agent's and the workers' end")
    assert summary(run)["starts"][-1]["how"] == "stopped"

    last = run / "last.pt"
    last.write_bytes(last.read_bytes()[:-1000])
    epoch = checkpoint.load(run / "previous.pt")["training"]["epoch"]
    options = (*flags(root, run, epochs=epoch + 1), "--resume")
    resumed = run_ranks("distributed.train", *options, processes=0)
    assert resumed.returncode == 0, resumed.stderr
    said = " ".join(resumed.stdout.split())
    assert "going on from the checkpoint before it, previous.pt" in said
    assert "began with 2 processes and goes on with 1: batches of 4 as before, in 2 part(s)" in said


def test_nan_on_one_rank_is_skipped_by_all_and_a_straggler_is_named(
    make_faces: Callable[..., Path], tmp_path: Path
):
    root, run = make_faces(train=12), tmp_path / "run"
    done = run_ranks("faulty_train", "nan", *flags(root, run, epochs=1))
    assert done.returncode == 0, done.stderr
    assert records(run)[-1]["skipped_steps"] == 1
    assert re.search(r"warning: straggler: rank 1 on \S+ takes \d+\.\d x the median", done.stdout)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("corrupt", r"{root}/train/images/\d+\.png: no picture format that Pillow reads"),
        ("bereave", r"a decoding process died \(process \d+: SIGKILL\).* --data.workers 0"),
    ],
    ids=["a picture lost in mid-epoch", "a decoding process killed while its rank computes"],
)
def test_without_pictures_all_ranks_save_and_stop(
    fault: str, said: str, make_faces: Callable[..., Path], tmp_path: Path
):
    root, run = make_faces(train=24), tmp_path / "run"
    status = tmp_path / "status"
    status.touch()
    done = run_ranks("faulty_train", fault, *flags(root, run), LISA_STATUS_FILE=str(status))
    assert (done.returncode, status.read_text()) == (0, "2\n"), done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert re.match(rf"error: rank 1 on \S+: {said.replace('{root}', str(root))}", line)
    assert "go on with --resume" in line
    assert "Traceback" not in done.stderr
    assert checkpoint.load(run / "last.pt")["training"]["batch"] > 0


def test_a_stalled_rank_ends_the_job_and_the_logs_say_who_waits_where(
    make_faces: Callable[..., Path], tmp_path: Path
):
    root, run = make_faces(train=12), tmp_path / "run"
    done = run_ranks("faulty_train", "stall", *flags(root, run), LISA_TIMEOUT="20")
    assert done.returncode != 0
    assert re.search(r"error: rank 0 on \S+ failed: \w+: .*[Tt]imed? ?out", done.stderr), done.stderr
    waiting, stalled = ((run / f"logs/rank{rank}.log").read_text() for rank in (0, 1))
    for log in (waiting, stalled):
        assert "Timeout (0:00:16)!" in log
    assert "distributed_c10d.py" in waiting or "_engine_run_backward" in waiting
    assert "in stall" in stalled
