"""A trial over several processes: torchrun as a child of the trial, heard through its metrics.jsonl."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lisa.config import Config
from lisa.errors import ExitCode, InputError
from lisa.run.names import LOG
from lisa.system.files import write_whole

CHECKOUT = Path(__file__).parents[1]
"""The checkout; on a cluster the copy that Ray made."""

POLL_SECONDS = 0.2
PATIENCE_SECONDS = 10.0
"""How long torchrun and its workers may take to save and exit before they are killed."""


def epoch_records(folder: Path) -> list[dict[str, Any]]:
    """The epochs in the run folder's log, each once, in order; a line that is half written is left out."""
    try:
        lines = (folder / LOG).read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    records = (json.loads(line) for line in lines if b'"event": "epoch"' in line)
    return list({record["epoch"]: record for record in records}.values())


def tied(command: list[str]) -> list[str]:
    """The command, to be ended by the kernel should this process die; needs ``tied_environment``."""
    return [sys.executable, "-m", "tune.die_with_parent", *command]


def tied_environment(**extra: str) -> dict[str, str]:
    """Environment of a tied command that finds this checkout's packages."""
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "LISA_TIED_TO": str(os.getpid()), **extra}


def fit_in_processes(
    config: Config, processes: int, threads: int, on_gpus: bool, on_epoch: Callable[[int], None]
) -> bool:
    """Trains the config under torchrun, going on from its ``last.pt``; False if the run diverged.

    ``on_epoch`` hears of each epoch that comes into the log: how many there are with it. Whatever ends this
    function ends torchrun too. Raises InputError with the last lines of ``torchrun.log`` if the run failed.
    """
    folder = Path(config.output)
    path = folder / "trial.json"
    write_whole(path, config.to_json().encode())
    with (
        tempfile.NamedTemporaryFile(prefix="lisa-status-") as status,
        (folder / "torchrun.log").open("ab") as log,
    ):
        # Ray hides no GPU from a trial for which it set none aside.
        hidden = {} if on_gpus else {"CUDA_VISIBLE_DEVICES": ""}
        process = subprocess.Popen(
            tied([*_torchrun(processes), "--config", str(path), "--resume"]),
            env=tied_environment(
                OMP_NUM_THREADS=str(threads),
                LISA_STATUS_FILE=status.name,
                **hidden,
            ),
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
        )
        heard = len(epoch_records(folder))
        try:
            ended = False
            while not ended:
                ended = process.poll() is not None
                written = len(epoch_records(folder))
                while heard < written:
                    heard += 1
                    on_epoch(heard)
                time.sleep(0 if ended else POLL_SECONDS)
        finally:
            _end(process)
        noted = Path(status.name).read_text().strip()  # "started" of a worker that came to no end of its own
        code = (int(noted) if noted.isdecimal() else 0) or process.returncode
    if code not in (0, ExitCode.DIVERGED):
        tail = (folder / "torchrun.log").read_text(errors="replace").splitlines()[-20:]
        raise InputError(f"torchrun ended with code {code}; {folder}/torchrun.log:\n" + "\n".join(tail))
    return code == 0


def _torchrun(processes: int) -> list[str]:
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc-per-node={processes}"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m", "distributed.train"),
    ]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # its workers are tied to it
            process.wait()
