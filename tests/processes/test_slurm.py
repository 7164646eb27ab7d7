"""slurm.sbatch under a real Slurm of one node: munged, slurmctld and slurmd, ours alone. Needs root.

``apt-get install slurm-wlm munge`` has them on Debian; where they are not, the test skips.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "torchrun")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
    pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason="Slurm is not installed"),
]

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CredType=cred/munge
CryptoType=crypto/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
GresTypes=gpu
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def wait_for(condition: Callable[[], object], what: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.2)


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[..., str]]:
    """A function that runs a command of Slurm's and returns what it printed."""
    base = tmp_path_factory.mktemp("slurm")
    for folder in ("state", "spool"):
        (base / folder).mkdir()
    host = socket.gethostname().split(".")[0]
    config = base / "slurm.conf"
    for gpu in ("gpu0", "gpu1"):  # files that Slurm takes for devices, and torch does not
        (base / gpu).touch()
    (base / "gres.conf").write_text(f"Name=gpu File={base}/gpu[0-1]\n")
    config.write_text(CONFIG.format(base=base, host=host, ports=free_ports(2), cores=os.cpu_count()))
    key = base / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    # As Slurm hides a GPU: an empty CUDA_VISIBLE_DEVICES would be the user's wish.
    environment = {**os.environ, "SLURM_CONF": str(config), "CUDA_VISIBLE_DEVICES": "NoDevFiles"}
    munge = [f"--{name}={base}/munge.{name}" for name in ("socket",)]
    munge += [f"--{name}-file={base}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    daemons = (
        ["munged", "--foreground", "--force", *munge],
        ["slurmctld", "-D", "-c", "-f", str(config)],
        ["slurmd", "-D", "-c", "-f", str(config)],
    )

    def ask(*words: object) -> str:
        command = [str(word) for word in words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ExitStack() as stack:
        for number, daemon in enumerate(daemons):
            log = stack.enter_context((base / f"{number}.log").open("w"))
            process = subprocess.Popen(daemon, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if number == 0:
                wait_for((base / "munge.socket").exists, "munged's socket", 30)
        try:
            wait_for(lambda: "idle" in ask("sinfo", "-h", "-o", "%T"), "the node", 60)
        except AssertionError:
            for number in range(len(daemons)):
                print((base / f"{number}.log").read_text()[-3000:])
            raise
        yield ask
        ask("scancel", "--user=root")
        wait_for(lambda: ask("squeue", "-h") == "", "the queue's end", 90)


def test_a_job_warned_of_its_time_limit_saves_is_requeued_and_goes_on(
    slurm: Callable[..., str], make_faces: Callable[..., Path], tmp_path: Path
):
    run, output = tmp_path / "run", tmp_path / "job.out"
    arguments = ("best", "--data", make_faces(train=24), "--output", run, "--epochs", "12", "--size", "32")
    arguments += ("--batch-size", "4", "--data.workers", "1", "--optim.ema-decay", "0.9")
    job = slurm("sbatch", "--parsable", "--nodes=1", f"--output={output}", "slurm.sbatch", *arguments).strip()
    wait_for((run / "last.pt").exists, "a checkpoint")
    # What --signal=B:USR1@120 does two minutes before the end.
    slurm("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: "Restarts=1" in slurm("scontrol", "show", "job", job), "the requeued job")
    # Slurm lets a requeued job wait for two minutes.
    wait_for(lambda: "PENDING" in slurm("scontrol", "show", "job", job), "the job in the queue", 90)
    slurm("scontrol", "update", f"job={job}", "StartTime=now")
    wait_for(lambda: "JobState=COMPLETED" in slurm("scontrol", "show", "job", job), "the job's end")
    text = output.read_text()
    assert text.count("torchrun --nnodes=1") == 2
    assert text.count("go on with --resume") == 1
    # The step got the node's GPUs.
    assert text.count("warning: SLURM_GPUS_ON_NODE=2, but torch sees no GPU and takes the CPU") == 2
    epochs = [line for line in (run / "metrics.jsonl").read_text().splitlines() if '"miou"' in line]
    assert len(epochs) == 12
