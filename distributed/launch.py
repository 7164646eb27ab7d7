"""torchrun with this machine's facts filled in: ``python -m distributed.launch``, or short ``./launch.sh``.

    ./launch.sh                                            demonstration on synthetic faces
    ./launch.sh [recipe] --data ROOT --output runs/x ...   training; --help lists the options
    ./launch.sh --dry-run ...                              only prints the torchrun line

One process per GPU, two on a CPU machine; NPROC overrides. Several nodes: the same command on each, with

    NNODES=2 NODE_RANK=0 MASTER_ADDR=host [MASTER_PORT=29500]    (NODE_RANK=1 on the second, and so on)
    NNODES=1:4 MASTER_ADDR=host                                  one to four nodes that may come and go

Under Slurm (``srun --ntasks-per-node=1 ./launch.sh ...``) these come from the job, see slurm.sbatch; under
Kubernetes' training operators from the pod.

    MAX_RESTARTS=3          how often lost workers start again, from the last checkpoint
    LISA_TIMEOUT=300        seconds until a collective that waits for a lost rank fails
    GLOO_SOCKET_IFNAME=eth0, NCCL_SOCKET_IFNAME=eth0    the network card that gradients take

The rendezvous and the process group are for trusted networks: they know no authentication.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed.agent import run_agent
from distributed.gpus import count_gpus
from distributed.nodes import Variables, read_nodes, read_processes, rendezvous_options, whole_number
from lisa.config.command_line import parse_training
from lisa.config.limits import require_batch
from lisa.data.parallel import available_cores
from lisa.data.shared_memory import batch_bytes, require_shared_memory
from lisa.errors import ExitCode, one_line_errors
from lisa.system.process import KEEP_MEMORY

ROOT = Path(__file__).parents[1]
DEFAULT_RESTARTS = 3
DRY_RUN = "--dry-run"


@dataclass(frozen=True)
class Launch:
    """What will be run: torchrun's words after its name, and the environment of the agent and its workers."""

    options: list[str]
    environment: dict[str, str]
    processes: int
    """On this node."""
    world_size: int
    """Processes of all nodes, at most."""
    fewest: int
    """Processes of all nodes, at least: another node may have a single one."""


def plan_launch(
    arguments: Sequence[str], variables: Variables, gpus: Callable[[], int], cores: int
) -> Launch:
    """The launch of a training command; ``gpus`` is asked only if NPROC is not set.

    Raises InputError for variables that are wrong or half set.
    """
    processes, restarts = read_processes(variables), whole_number(variables, "MAX_RESTARTS", 0)
    whole_number(variables, "LISA_TIMEOUT", 1)
    nodes = read_nodes(variables)
    rendezvous = rendezvous_options(nodes)
    if processes is None:
        processes = gpus() or min(2, cores)
    if restarts is None:
        restarts = DEFAULT_RESTARTS
    options = [
        f"--nnodes={nodes.count}",
        f"--nproc-per-node={processes}",
        *rendezvous,
        f"--max-restarts={restarts}",
        *("-m", "distributed.train", *arguments),
    ]
    environment = {
        "OMP_NUM_THREADS": str(max(1, cores // processes)),
        **variables,
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), variables.get("PYTHONPATH")))),
        # Page faults of fresh large buffers cost more than the arithmetic on a CPU: glibc keeps its memory.
        **KEEP_MEMORY,
    }
    if nodes.most > 1 or restarts > 0:
        # A new agent that joins a surviving one breaks the rendezvous when they share its store. The workers'
        # own store takes a port that was free a moment ago, which another process may have taken since: a
        # launch that nobody joins and that never starts again is better off with the shared one.
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return Launch(options, environment, processes, processes * nodes.most, processes + nodes.least - 1)


def train(arguments: Sequence[str], dry_run: bool = False) -> int:
    """Checks everything, prints the torchrun line, runs it. A wrong argument is said once, here."""
    asks_for_help = "-h" in arguments or "--help" in arguments
    config = parse_training(["--help"] if asks_for_help else arguments).config
    launch = plan_launch(arguments, os.environ, lambda: count_gpus(os.environ), available_cores())
    require_batch(config.train.batch_size, launch.fewest)
    print(shlex.join(["torchrun", *launch.options]), flush=True)
    if dry_run:
        return 0
    # The workers ask again, once they know the pictures; here it takes no start of torch.
    batch = batch_bytes(config.train.batch_size, launch.world_size, config.data.size)
    require_shared_memory(batch, config.data.workers, launch.processes)
    return run_agent(launch.options, launch.environment)


def demonstrate() -> int:
    """Draws faces, trains a small run, exports it, predicts its test folder; the first code that is not 0."""
    data, run = "data/synthetic", "runs/demo"
    training = ["demo", "--data", data, "--output", run, "--resume"]
    predicting = ["--model", f"{run}/lisa.ts", "--input", f"{data}/test/images"]
    predicting += ["--output", f"{run}/predictions", "--overlay"]
    steps = (
        lambda: _python("-m", "lisa.data.synthetic", "--output", data, "--count", "1200", "--seed", "0"),
        lambda: train(training),
        lambda: _python(
            "-m", "deploy.export", "--checkpoint", f"{run}/best.pt", "--output", f"{run}/lisa.ts"
        ),
        lambda: _python(str(ROOT / "deploy/predict.py"), *predicting),
    )
    for step in steps:
        if code := step():
            return code
    print(f"""
Done. Look at:
  {run}/grid.png         picture | truth | prediction | overlay
  {run}/predictions/     label maps and overlays of the test pictures
  {run}/lisa.ts          the exported parser""")
    return 0


def _python(*words: str) -> int:
    """Runs this Python with the checkout on its path, and returns its code."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *words], env=environment, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Demonstrates without arguments, else trains."""
    with one_line_errors():
        try:
            if not arguments:
                return demonstrate()
            words = [word for word in arguments if word != DRY_RUN]
            return train(words, dry_run=DRY_RUN in arguments)
        except KeyboardInterrupt:  # before the workers, or in another step of the demonstration
            return ExitCode.INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
