"""Ray's start, quietly, here or on an existing cluster, and whether all nodes see the same files."""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa.config import Config
from lisa.data.shared_memory import batch_bytes, require_shared_memory
from lisa.errors import InputError, listing
from lisa.system.listener import why_silent
from lisa.system.process import KEEP_MEMORY
from tune.arguments import MARKER, heed_sigterm
from tune.storage import file_system, is_url
from tune.torchrun import CHECKOUT

if TYPE_CHECKING:
    from tune.experiment import Experiment

ENVIRONMENT = {
    **KEEP_MEMORY,
    "MALLOC_ARENA_MAX": "1",  # a trial runs in a thread, which must not get an arena of its own
    # A stopped trial's torchrun ends its step and saves. Ray would wait two seconds for it, and then throw
    # the next trial away unrun.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "120",
}
"""Of the workers."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # a driver under "uv run" would start every worker through uv again
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our table, leaderboard and metrics.jsonl say it all
    "TUNE_FORCE_TRIAL_CLEANUP_S": "3",  # Ctrl-C waits no longer for trials: their last epoch is saved
    "TUNE_GLOBAL_CHECKPOINT_S": "1",  # a killed search loses no finished trial
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}
"""Set before Ray is imported."""

SOCKET_BYTES = 107
"""A Unix socket's path may be this long; Ray's lie in its temporary folder."""

TRAVELS = ("lisa", "tune", "distributed", "deploy")
"""The checkout's folders that are sent to a cluster's nodes; data, runs and environments are not."""


def settle_environment() -> None:
    """Ray's switches; call it before the first import of Ray."""
    os.environ.update({**QUIET, **ENVIRONMENT})


def check_start(address: str, config: Config, processes: int = 1) -> None:
    """Refuses at once what would be refused long after Ray's start; ``processes`` are a trial's.

    Raises:
        InputError: a batch has fewer pictures than a trial has processes, a label of one side would be
            mirrored, there is no such network, the weights of train.init serve another one, or nobody listens
            at the address. Without one: TMPDIR is too long for Ray's sockets, or /dev/shm is too small for a
            trial of one process; :func:`check_nodes` counts them all.
    """
    if config.train.batch_size < processes:
        raise InputError(
            f"--batch-size {config.train.batch_size}: at least one picture for each of a trial's {processes} "
            "processes: raise it, or use fewer (--processes-per-trial, --gpus-per-trial)"
        )
    config.require_learnable()
    from lisa.training.initial import start_network  # timm takes seconds

    start_network(config)  # Ray would try each trial that fails by it four times
    if address:
        if reason := why_silent(address):
            raise InputError(f"no Ray cluster at {address} ({reason}): docs/tune.md has the commands")
        return
    _require_short_paths()
    batch = batch_bytes(config.train.batch_size, 1, config.data.size)
    require_shared_memory(batch, config.data.workers, processes=1)


def _require_short_paths() -> None:
    name = "RAY_TMPDIR" if "RAY_TMPDIR" in os.environ else "TMPDIR"
    folder = os.environ.get(name)
    if folder is None:
        return
    socket_name = f"/ray/session_2000-01-01_00-00-00_000000_{os.getpid()}/sockets/plasma_store"
    excess = len(os.fsencode(folder)) + len(socket_name) - SOCKET_BYTES
    if excess > 0:
        raise InputError(
            f"{name}={folder} is {excess} bytes too long for Ray's sockets: set RAY_TMPDIR to a shorter "
            "folder, /tmp say"
        )


@contextmanager
def open_cluster(address: str) -> Generator[None]:
    """Ray on this machine, or the cluster at the address; shut down or left again at the end.

    Raises InputError if Ray does not start, or nobody answers there.
    """
    import ray

    arguments: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 256 * 2**20}
    if address:
        excludes = ["/*", *(f"!/{folder}/" for folder in TRAVELS), "__pycache__/"]
        environment = {"working_dir": str(CHECKOUT), "excludes": excludes, "env_vars": ENVIRONMENT}
        arguments = {"runtime_env": environment}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **arguments)
        heed_sigterm()
    except SystemExit:  # Ray's handlers of SIGTERM while it starts; they stay until they are replaced
        raise KeyboardInterrupt from None
    except Exception as error:  # a bare one where its own processes do not start within 30 s
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"no Ray cluster at {address or 'this machine'}: {first} "
            "(docs/tune.md has the commands, and what token authentication needs)"
        ) from error
    # A lost worker's traceback of forty lines says no more than the table's line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ray.shutdown()


def node_resources() -> list[dict[str, float]]:
    """What each living node has, as Ray names it: CPU, GPU, ..."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_nodes(config: Config, experiment: "Experiment") -> None:
    """Raises InputError, before any trial, for nodes that see other files or whose /dev/shm is too small."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check: Any = ray.remote(num_cpus=0, max_retries=0)(faults_here)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0]
    pending = {
        node["NodeManagerAddress"]: check.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(config, experiment.trials_on(node["Resources"]), experiment.job.processes)
        for node in nodes
    }
    faults = [
        f"{address}: {fault}"
        for address, pending_faults in pending.items()
        for fault in ray.get(pending_faults)
    ]
    if faults:
        raise InputError(
            "not all nodes can run the trials (files need a path that all of them see, or a URL):\n"
            + listing(faults)
        )


def check_faces(config: Config) -> None:
    """Decodes every pair once. Raises InputError for data on which Ray would try each trial four times.

    Data behind a URL is left to the trials, which copy it.
    """
    if is_url(config.data.root):
        return
    from lisa.training.start import load_faces
    from lisa.world import World

    load_faces(config, World())


def faults_here(config: Config, trials: int, processes: int) -> list[str]:
    """What this machine lacks: the data, MARKER in the results folder, or room in /dev/shm.

    ``trials`` of so many ``processes`` each would run here at a time.
    """
    faults: list[str] = []
    for name, place, item in (("--data", config.data.root, ""), ("--output", config.output, MARKER)):
        try:
            if is_url(place):
                files, path = file_system(place)
                seen = files.exists(f"{path}/{item}" if item else path)
            else:
                seen = (Path(place) / item).exists()
        except (InputError, OSError) as error:
            faults.append(f"{name} {place}: {error}")
            continue
        if not seen:
            faults.append(f"{name} {place} is not there, or not the one that the search writes")
    batch = batch_bytes(config.train.batch_size, processes, config.data.size)
    try:
        require_shared_memory(batch, config.data.workers, trials * processes)
    except InputError as error:
        faults.append(str(error))
    return faults
