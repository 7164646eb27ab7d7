"""Counting GPUs, and the warning of a machine that has some for which torch finds no use."""

import subprocess
import sys
from pathlib import Path

import pytest

from distributed.gpus import count_gpus, unused_gpus
from lisa.errors import InputError


@pytest.mark.parametrize(("seen", "given", "expected"), [(0, 0, 0), (8, 8, 8), (7, 1, 1)])
def test_cuda_is_asked_where_there_are_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: int, given: int, expected: int
):
    """Of a card in MIG slices NVML counts seven, and CUDA gives a process one."""
    (tmp_path / "torch.py").write_text(f"""
class cuda:
    device_count = staticmethod(lambda: {seen})
class _C:
    _cuda_getDeviceCount = staticmethod(lambda: {given})
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert count_gpus({"PYTHONPATH": str(tmp_path)}) == expected


def test_a_torch_that_does_not_load_is_one_line(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so: cannot open')")
    with pytest.raises(InputError, match=r"asked for GPUs \(ImportError: libcudart.so: cannot open\)"):
        count_gpus({"PYTHONPATH": str(tmp_path)})


def test_a_warning_where_gpus_lie_idle(tmp_path: Path):
    def warning(*names: str, **environment: str) -> str | None:
        for name in names:
            (tmp_path / name).touch()
        return unused_gpus(environment, tmp_path)

    assert warning() is None
    assert warning("nvidiactl", "null") is None
    assert warning(SLURM_JOB_GPUS="", SLURM_GPUS_ON_NODE="0") is None
    of_slurm = warning(SLURM_GPUS_ON_NODE="4", CUDA_VISIBLE_DEVICES="NoDevFiles")
    assert of_slurm is not None
    assert of_slurm.startswith("SLURM_GPUS_ON_NODE=4, but torch sees no GPU and takes the CPU")
    of_driver = warning("nvidia0", "nvidia1")
    assert of_driver is not None
    assert of_driver.startswith(f"{tmp_path}/nvidia0, {tmp_path}/nvidia1: there, but torch sees no GPU")
    assert warning("nvidia0", CUDA_VISIBLE_DEVICES="") is None
    assert warning("nvidia0", SLURM_GPUS_ON_NODE="4", CUDA_VISIBLE_DEVICES="-1") is None


def test_a_wrong_argument_is_answered_without_torch():
    code = "import sys, distributed.launch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
