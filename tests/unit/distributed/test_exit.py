"""What a worker reads of its environment: its time out, whether it starts again, its device."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch

import distributed
from distributed import world
from distributed.exit import STATUS_FILE, finish, started_before
from distributed.launch import ROOT
from lisa.errors import InputError


def test_distributed_is_ours():
    """A wheel with a top-level "distributed" (dask's) must not stand before the checkout."""
    assert Path(distributed.__file__ or "").parent == ROOT / "distributed"


def test_the_time_out_is_read_in_seconds(monkeypatch: pytest.MonkeyPatch):
    assert world.timeout() == timedelta(minutes=5)
    monkeypatch.setenv(world.TIMEOUT, "7")
    assert world.timeout() == timedelta(seconds=7)
    for wrong in ("0", "-1", "soon", "1.5", ""):
        monkeypatch.setenv(world.TIMEOUT, wrong)
        with pytest.raises(InputError, match="LISA_TIMEOUT"):
            world.timeout()


def test_workers_started_again_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Under launch.sh by the status file; under bare torchrun by its count."""
    monkeypatch.delenv(STATUS_FILE, raising=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert not started_before()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert started_before()
    status = tmp_path / "status"
    status.touch()
    monkeypatch.setenv(STATUS_FILE, str(status))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not started_before()
    assert status.read_text() == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not started_before()
    assert started_before()


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes for this machine's 2 GPUs: NPROC is at most 2"):
        world._device(3)  # pyright: ignore[reportPrivateUsage]


def test_a_gpu_that_the_wheel_has_no_kernels_for_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def no_kernel(*arguments: object, **options: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.ones", no_kernel)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: ["sm_75", "sm_80"])
    with pytest.raises(InputError, match=r"cuda:0 computes nothing: .* has kernels for sm_75, sm_80") as told:
        world._device(0)  # pyright: ignore[reportPrivateUsage]
    assert "\n" not in str(told.value)


def test_a_gpu_that_another_process_holds_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """Of a GPU in exclusive mode: CUDA 12 makes its context as soon as the device is chosen."""

    def busy(device: torch.device) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", busy)
    with pytest.raises(InputError, match=r"cuda:0 computes nothing: .* busy or unavailable") as told:
        world._device(0)  # pyright: ignore[reportPrivateUsage]
    assert "\n" not in str(told.value)


def test_short_memory_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def train() -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    left: list[int] = []
    monkeypatch.setattr("distributed.exit._leave", left.append)
    finish(train)
    assert left == [1]
    assert "memory is short: --auto-batch finds" in capsys.readouterr().err


def test_apples_gpu_is_left_alone_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert world._device(0).type == world._device(1).type == "cpu"  # pyright: ignore[reportPrivateUsage]
    assert capsys.readouterr().err.count("Apple's GPU is not used") == 1


def test_a_half_set_worker_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="RANK is set, but not LOCAL_RANK, WORLD_SIZE"), world.open_world():
        pass
