"""What a process group's World reads of its environment and does of itself, without a process group."""

from datetime import timedelta

import pytest
import torch
from torch import nn

from distributed import world
from distributed.world import ProcessGroupWorld
from lisa.errors import InputError
from lisa.world import SMALL_BATCH


@pytest.mark.parametrize(
    ("device", "pictures", "synchronised"),
    [("cuda", SMALL_BATCH - 1, True), ("cuda", SMALL_BATCH, False), ("cpu", SMALL_BATCH - 1, False)],
)
def test_few_pictures_at_once_are_normalised_together_on_gpus(
    device: str,
    pictures: int,
    synchronised: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """And on CPUs, which can't, the run says so."""
    network, together = nn.Identity(), nn.Identity()
    wrapped: list[tuple[nn.Module, list[torch.device] | None]] = []

    def parallel(module: nn.Module, devices: list[torch.device] | None, **options: bool) -> nn.Module:
        wrapped.append((module, devices))
        return nn.Sequential(module)

    monkeypatch.setattr(world, "DistributedDataParallel", parallel)
    monkeypatch.setattr(world, "synchronise_batchnorm", lambda module: together)
    ranks = ProcessGroupWorld(world_size=2, device=torch.device(device))
    assert isinstance(ranks.wrap(network, pictures), nn.Sequential)
    assert wrapped == [(together if synchronised else network, [ranks.device] if device == "cuda" else None)]
    assert ("its own 15 pictures" in capsys.readouterr().out) == (device == "cpu")


def test_the_time_out_is_read_in_seconds(monkeypatch: pytest.MonkeyPatch):
    assert world.timeout() == timedelta(minutes=5)
    monkeypatch.setenv(world.TIMEOUT, "7")
    assert world.timeout() == timedelta(seconds=7)
    for wrong in ("0", "-1", "soon", "1.5", ""):
        monkeypatch.setenv(world.TIMEOUT, wrong)
        with pytest.raises(InputError, match="LISA_TIMEOUT"):
            world.timeout()


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="4 processes for this machine's 2 GPUs: NPROC is at most 2"):
        world.local_device(3)


def test_a_gpu_that_the_wheel_has_no_kernels_for_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def no_kernel(*arguments: object, **options: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr("torch.ones", no_kernel)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: ["sm_75", "sm_80"])
    with pytest.raises(InputError, match=r"cuda:0 computes nothing: .* has kernels for sm_75, sm_80") as told:
        world.local_device(0)
    assert "\n" not in str(told.value)


def test_a_gpu_that_another_process_holds_is_one_line(monkeypatch: pytest.MonkeyPatch):
    """Of a GPU in exclusive mode: CUDA 12 makes its context as soon as the device is chosen."""

    def busy(device: torch.device) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", busy)
    with pytest.raises(InputError, match=r"cuda:0 computes nothing: .* busy or unavailable") as told:
        world.local_device(0)
    assert "\n" not in str(told.value)


def test_apples_gpu_is_left_alone_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert world.local_device(0).type == world.local_device(1).type == "cpu"
    assert capsys.readouterr().err.count("Apple's GPU is not used") == 1


def test_a_half_set_worker_environment_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="RANK is set, but not LOCAL_RANK, WORLD_SIZE"), world.open_world():
        pass


def test_the_first_process_of_a_host_warns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SLURM_JOB_GPUS", "0,1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    for local_rank in (0, 1):
        assert world.local_device(local_rank).type == "cpu"
    assert capsys.readouterr().err.count("warning: SLURM_JOB_GPUS=0,1, but torch sees no GPU") == 1
