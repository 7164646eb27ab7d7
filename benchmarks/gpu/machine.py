"""Where the figures come from: device, driver, versions, commit.

``python -m benchmarks.gpu.machine`` prints them as JSON. The driver asks in another process, for a process
that has asked CUDA once keeps some of the device's memory.
"""

import json
import os
import platform
import subprocess

import torch

from lisa.run.summary import commit


def describe() -> dict[str, str]:
    """The machine by name; ``device`` is "cuda" or "cpu"."""
    about = {
        "host CPU": f"{os.cpu_count()} x {platform.processor() or platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit() or "unknown",
    }
    if not torch.cuda.is_available():
        return {"device": "cpu", "GPU": "none", **about}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": "cuda",
        "GPU": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
        f"{properties.multi_processor_count} multiprocessors",
        "driver": driver(),
        "CUDA": str(torch.version.cuda or torch.version.hip),
        "cuDNN": str(torch.backends.cudnn.version()),
        **about,
    }


def driver() -> str:
    """The driver's version as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown (no nvidia-smi)"
    return done.stdout.split()[0] if done.stdout.strip() else "unknown"


if __name__ == "__main__":
    print(json.dumps(describe()))
