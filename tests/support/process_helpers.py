"""Real processes for tests: launch.sh and torchrun, the tree below them, waiting without a clock's mercy."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]

FLAGS = ("--size", "32", "--batch-size", "4", "--data.workers", "1", "--optim.ema-decay", "0.9")
"""Small faces, and a network of a few thousand parameters."""


LONG = 600
"""Seconds after which a process of a healthy test, on a machine however busy, has ended."""


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "MASTER_"))}
    return {**kept, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}", "OMP_NUM_THREADS": "1", **extra}


def start(*arguments: object, **extra: str) -> "subprocess.Popen[str]":
    """launch.sh in the background, two processes."""
    return subprocess.Popen(
        [str(ROOT / "launch.sh"), *map(str, arguments)],
        env=environment(NPROC="2", **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def wait_until(condition: Callable[[], object], what: str, seconds: float = LONG) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    try:
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for text in tasks for child in text.split()]


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def agent_of(launch: "subprocess.Popen[str]") -> int:
    """torchrun's process below launch.sh."""
    (agent,) = [pid for pid in children(launch.pid) if "torch.distributed.run" in command_of(pid)]
    return agent


def worker_of(launch: "subprocess.Popen[str]", rank: int) -> int:
    """The training process of this rank."""
    (worker,) = [pid for pid in children(agent_of(launch)) if f"RANK={rank}" in environment_of(pid)]
    return worker


def command_of(pid: int) -> str:
    return _proc(pid, "cmdline").replace("\0", " ")


def environment_of(pid: int) -> list[str]:
    return _proc(pid, "environ").split("\0")


def alive(pid: int) -> bool:
    """Neither gone nor a zombie that waits for its parent."""
    return ") Z " not in (_proc(pid, "stat") or ") Z ")


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""
