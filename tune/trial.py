"""One trial: lisa's loop with a World, heard by Ray after each epoch, going on from its own checkpoints."""

import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune as ray_tune

from lisa.config import Config
from lisa.data.shared_memory import FEW_WORKERS
from lisa.errors import DivergedError, InputError
from lisa.models import build, count_parameters
from lisa.run.names import BEST
from lisa.system.process import flush_denormals
from lisa.training.loop import fit
from lisa.world import World
from tune.space import Point
from tune.storage import TrialFolder, local_data, open_trial_folder
from tune.torchrun import CHECKOUT, POLL_SECONDS, epoch_records, fit_in_processes, tied, tied_environment

TIMED_RUNS = 15

WRITTEN_SECONDS = 60
"""How long an epoch's checkpoints may come after its line in the log."""

CONTEXT_BYTES = 512 * 2**20
"""What a process takes of a GPU outside torch's allocator, which alone has a limit: CUDA's context, kernels.

About 300 MB where kernels are loaded lazily (https://github.com/pytorch/pytorch/issues/107667), more on some
cards. Not measured here.
"""


@dataclass(frozen=True)
class Job:
    """What all trials of a search share; it travels to the workers."""

    config: Callable[[Point], Config]
    """The config of a point."""
    results: str
    """The search's folder or URL."""
    processes: int = 1
    """Above 1 a trial is a torchrun job of so many processes."""
    gpus: float = 0
    """GPUs that Ray sets aside for a trial; the trial sees no others."""
    threads: int = 1
    """torch's threads per process."""
    latency: bool = False
    """Whether the exported file is timed after the first epoch."""


def run_trial(point: Point, job: Job) -> None:
    """Trains the point's config from where its run folder stands, and reports every epoch.

    The run folder is ``trials/<trial's id>`` of the results. A restarted or restored trial keeps its id, so
    that fit goes on from last.pt, whatever Ray itself knows of the trial.
    """
    name = ray_tune.get_context().get_trial_id()
    assert name is not None
    with open_trial_folder(job.results, name) as folder:
        config = job.config(point)
        # Trials share their machine: none takes all of its cores to decode.
        workers = config.data.workers if config.data.workers >= 0 else FEW_WORKERS
        data = replace(config.data, root=local_data(config.data.root), workers=workers)
        config = replace(config, data=data, output=str(folder.path))
        reporter = Reporter(config, folder, job.latency)
        try:
            finished = _fit(config, job, reporter)
        except DivergedError:
            finished = False
        if not finished:
            reporter.report(diverged=True)
        elif not reporter.reported:  # its last epoch was reported by an earlier life that came no further
            reporter.report()


def _fit(config: Config, job: Job, reporter: "Reporter") -> bool:
    """Trains; False if the run diverged."""
    if job.processes > 1:
        try:
            return fit_in_processes(config, job.processes, job.threads, job.gpus > 0, reporter.report)
        finally:
            reporter.folder.push()  # an epoch comes into the log before its checkpoints are written
    torch.set_num_threads(job.threads)
    flush_denormals()
    device = torch.device("cuda", 0) if job.gpus > 0 else torch.device("cpu")
    if 0 < job.gpus < 1:
        # Trials share the GPU: none takes the memory of another, and --auto-batch sees its own.
        reserve = CONTEXT_BYTES / torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.0, job.gpus - reserve), device)
    fit(config, World(device=device), resume=True, on_epoch=lambda record: reporter.report())
    return True


class Reporter:
    """Tells Ray of each epoch: figures, the best mIoU so far epoch by epoch, and whether it diverged."""

    def __init__(self, config: Config, folder: TrialFolder, latency: bool) -> None:
        self.config, self.folder = config, folder
        with torch.device("meta"):
            self.parameters = count_parameters(build(config.model, len(config.labels)))
        self.latency_ms: float | None = None
        self.wants_latency = latency
        self.reported = False
        self.began = time.time()

    def report(self, epochs: int | None = None, diverged: bool = False) -> None:
        """Reports the last of so many epochs in the run's log, which may be ahead; None is all of them.

        A diverged run scores 0, whatever it reached before.
        """
        self.folder.push()
        records = epoch_records(self.folder.path)[:epochs]
        curve = [_best(records[:count])["miou"] for count in range(1, len(records) + 1)]
        if self.wants_latency and self.latency_ms is None and records:
            self.latency_ms = exported_milliseconds(self._best_checkpoint(), self.config.data.size)
        metrics = {
            "epoch": records[-1]["epoch"] if records else 0,
            "miou": 0.0 if diverged else records[-1]["miou"],
            "best_miou": 0.0 if diverged else curve[-1],
            "best_report_f1": 0.0 if diverged else _best(records)["report_f1"],
            "curve": curve,
            "parameters": self.parameters,
            "diverged": diverged,
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "latency_ms": self._latency(diverged),
            "began": self.began,
            "last_heard": time.time(),
        }
        self.reported = True
        ray_tune.report(metrics)

    def _best_checkpoint(self) -> Path:
        """best.pt, which over several processes may come a little later than the first epoch's line."""
        path, deadline = self.folder.path / BEST, time.monotonic() + WRITTEN_SECONDS
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return path

    def _latency(self, diverged: bool) -> float:
        if self.latency_ms is None and diverged and self.wants_latency:
            return 1e6  # never exported: as slow as can be
        return self.latency_ms or 0.0


def _best(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch of best.pt: none from before the validation faces changed.

    Logs of earlier versions don't name it, nor do those of runs without a figure: the best of all then.
    """
    best = records[-1].get("best_epoch")
    named = (record for record in records if record["epoch"] == best)
    return next(named, None) or max(records, key=lambda record: record["miou"])


def exported_milliseconds(checkpoint: Path, size: int) -> float:
    """Median CPU milliseconds of the checkpoint's exported file for one picture, on one thread.

    Raises InputError with the export's last words if it failed.
    """
    exported = checkpoint.with_name("lisa.ts")
    command = [sys.executable, "-m", "deploy.export", "--checkpoint", str(checkpoint)]
    done = subprocess.run(
        tied([*command, "--output", str(exported)]),
        env=tied_environment(OMP_NUM_THREADS="1"),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"code {done.returncode}"]
        raise InputError(f"{checkpoint} can't be exported and timed: {said[-1].removeprefix('error: ')}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _time(exported, size)
    finally:
        torch.set_num_threads(threads)


def _time(exported: Path, size: int) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated upstream
        model = torch.jit.load(exported, map_location="cpu")
    picture = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8)
    seconds: list[float] = []
    with torch.inference_mode():
        for _ in range(3 + TIMED_RUNS):  # the first three compile
            started = time.thread_time()  # of this thread: other trials share the machine
            model(picture)
            seconds.append(time.thread_time() - started)
    return 1000 * statistics.median(seconds[3:])
