"""Ranks forked from one process that has imported everything: real processes on Gloo, seconds cheaper each.

torchrun's agent is not between them and the test: what it does is tried where launch.sh is.
"""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import NamedTuple

import pytest
from process_helpers import LONG, ROOT, environment

IMPORTED = [
    "distributed.evaluate",
    "distributed.train",
    "distributed.world",
    "lisa.evaluation.evaluate",
    "lisa.figures.finished_run",
    "lisa.figures.worst_and_best",
    "lisa.training.loop",
    "torch._dynamo",
    "torch._dynamo.backends.debugging",
    "torch._functorch.aot_autograd",
]


class Ended(NamedTuple):
    returncode: int
    """Of the first rank that failed, or 0."""
    stdout: str
    stderr: str


def run_ranks(
    module: str,
    *arguments: object,
    processes: int = 2,
    meanwhile: Callable[[list[int]], None] = lambda pids: None,
    **extra: str,
) -> Ended:
    """``python -m module arguments`` as so many ranks; where one fails the others are killed.

    With ``processes=0`` it is one process, outside of any group. ``meanwhile`` is called as they start.
    """
    context = multiprocessing.get_context("forkserver")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():  # the server's, at its first start
            patch.setenv(name, value)
        context.set_forkserver_preload(IMPORTED)
        forkserver.ensure_running()
    with tempfile.TemporaryDirectory() as folder:
        words = [module, *map(str, arguments)]
        ranks = [
            context.Process(target=_run, args=(words, environment(**each), f"{folder}/{rank}"))
            for rank, each in enumerate(_places(processes, extra))
        ]
        for rank in ranks:
            rank.start()
        try:
            meanwhile([rank.pid or 0 for rank in ranks])
            deadline = time.monotonic() + LONG
            while any(rank.exitcode is None for rank in ranks) and time.monotonic() < deadline:
                if any(rank.exitcode for rank in ranks):
                    break
                time.sleep(0.02)
            failed = [rank.exitcode for rank in ranks if rank.exitcode]
        finally:
            for rank in ranks:
                rank.kill()  # of those that are still there
                rank.join()
        output, errors = (
            "".join(Path(f"{folder}/{rank}.{name}").read_text() for rank in range(len(ranks)))
            for name in ("stdout", "stderr")
        )
    assert failed or time.monotonic() < deadline, f"it never ended:\n{output}\n{errors}"
    return Ended(failed[0] or 0 if failed else 0, output, errors)


def _places(processes: int, extra: dict[str, str]) -> list[dict[str, str]]:
    """What torchrun would tell each rank."""
    if processes == 0:
        return [extra]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    group["LOCAL_WORLD_SIZE"] = group["WORLD_SIZE"]
    return [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank), **extra} for rank in range(processes)]


def _run(words: list[str], environment: dict[str, str], log: str) -> None:
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        stream.flush()
        file = os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    multiprocessing.set_start_method("fork", force=True)  # the system's own, not what started this one
    sys.argv = words
    sys.modules.pop(words[0], None)  # it may be among those imported: runpy would warn
    runpy.run_module(words[0], run_name="__main__")
