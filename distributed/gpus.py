"""How many GPUs torch can use here, and a warning where the machine seems to have more."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lisa.errors import InputError

# device_count asks NVML, which counts every MIG slice; CUDA gives a process one. The second call asks CUDA.
_PROBE = "import torch; print(torch._C._cuda_getDeviceCount() if torch.cuda.device_count() else 0)"

_OF_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_GPUS", "SLURM_GPUS_PER_NODE")


def count_gpus(environment: Mapping[str, str]) -> int:
    """The GPUs that torch sees, CUDA's or ROCm's. Asked in a process of its own: this one needs no torch.

    Raises InputError if torch cannot be imported.
    """
    command = [sys.executable, "-c", _PROBE]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
        raise InputError(
            f"torch could not be asked for GPUs ({reason}): is the environment active? NPROC=1 skips it"
        )
    return int(done.stdout.split()[-1])


def unused_gpus(environment: Mapping[str, str], devices: Path = Path("/dev")) -> str | None:
    """A warning for a process without a GPU on a machine that seems to have some; None if there are none.

    CUDA_VISIBLE_DEVICES empty, or -1, hides them on purpose.
    """
    if environment.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    fault = "but torch sees no GPU and takes the CPU"
    for name in _OF_SLURM:
        value = environment.get(name, "")
        if value not in ("", "0"):
            return f"{name}={value}, {fault}: does the step ask for GPUs, is torch a GPU build?"
    found = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
    if found:
        where = ", ".join(str(devices / name) for name in found[:8])
        return f"{where}: there, {fault}: is torch a GPU build, does the driver fit it?"
    return None
