"""Devices, precisions and errors, without any of the devices."""

import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from deploy.predictor import machine
from deploy.predictor.command import choose_batch, count_streams
from deploy.predictor.errors import CannotStartError, cause
from deploy.predictor.machine import (
    choose_devices,
    choose_precision,
    cores,
    cpu_has_bf16,
    device_answers,
    is_out_of_memory,
    keep_freed_memory,
    prepare_device,
)
from deploy.predictor.model import ExportedModel

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def tf32() -> Generator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_fp32_is_fp32_on_cuda_too(precision: str, allowed: bool) -> None:
    """torch's default for convolutions is TF32."""
    for flag in (True, False):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = flag
        prepare_device(GPU, precision)
        assert torch.backends.cudnn.allow_tf32 is allowed
        assert torch.backends.cuda.matmul.allow_tf32 is allowed


def test_tf32_is_fp32_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    capability = (8, 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("tf32", GPU) == "tf32"
    assert choose_precision("tf32", CPU) == "fp32"
    capability = (7, 5)
    assert choose_precision("tf32", GPU) == "fp32"


def test_the_fuser_is_off(model: Path) -> None:
    """Allowed to fuse on a CPU, it would fail here for the want of LLVM, or leave groups in the graph."""
    torch._C._jit_override_can_fuse_on_cpu(True)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    try:
        exported = ExportedModel(model, CPU, "fp32")
        for batch in (1, 2, 3):
            exported.warm_up(batch)
        assert "TensorExpr" not in str(torch.jit.last_executed_optimized_graph())
    finally:
        torch._C._jit_override_can_fuse_on_cpu(False)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("HIP error: hipErrorOutOfMemory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: not enough memory"),
        MemoryError(),
    ],
)
def test_missing_memory_by_its_names(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("GET was unable to find an engine to execute this computation"),  # no kernel, or no room
        ValueError("out of memory"),
    ],
)
def test_other_errors_are_no_missing_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


def test_a_device_that_fails_at_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_answers(CPU)

    def failing(*arguments: object, **options: object) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "ones", failing)
    assert not device_answers(GPU)


def test_streams_of_cpus_and_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.predictor.command.cores", lambda: 96)
    gpus = [torch.device("cuda", index) for index in range(4)]
    assert count_streams(0, [CPU], 1000) == 8  # each holds 300 MB of maps
    assert count_streams(0, gpus, 1000) == 24  # these only decode and encode
    assert count_streams(0, gpus[:1], 1000) == 32
    assert count_streams(5, gpus, 1000) == 5
    assert count_streams(0, gpus, 3) == 3
    monkeypatch.setattr("deploy.predictor.command.cores", lambda: 2)
    assert count_streams(0, gpus, 1000) == 2  # one of them on the GPU, the other reading

    assert choose_batch(0, CPU, 8, 1000) == 1
    assert choose_batch(0, GPU, 8, 1000) == 16
    assert choose_batch(0, GPU, 32, 100) == 4  # nobody holds what others wait for
    assert choose_batch(64, GPU, 8, 10) == 64


def test_apples_gpus_are_refused_in_one_line() -> None:
    with pytest.raises(CannotStartError, match=r"--device mps: .* --device cpu"):
        choose_devices("mps")
    assert choose_devices("auto") == [CPU]


def test_gpus_are_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = [torch.device("cuda", index) for index in range(2)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("torch._C._cuda_getDeviceCount", lambda: 2)
    assert choose_devices("auto") == gpus
    assert choose_devices("cuda:1") == gpus[1:]
    with pytest.raises(CannotStartError, match="--device cuda:2: this machine has 2 CUDA devices"):
        choose_devices("cuda:2")


def test_a_driver_that_torch_cannot_use_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # as NVML has it
    assert choose_devices("auto") == [CPU]
    with pytest.raises(CannotStartError, match="this machine has 0 CUDA devices"):
        choose_devices("cuda")


def test_bf16_is_the_asked_gpus_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say, an A100 beside a T4."""
    current: list[torch.device] = []

    @contextmanager
    def on(device: torch.device) -> Generator[None]:
        current.append(device)
        yield
        current.pop()

    def supported(including_emulation: bool) -> bool:
        return (current or [GPU])[-1] == torch.device("cuda", 1)

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose_precision("auto", torch.device("cuda", 1)) == "bf16"
    assert choose_precision("auto", torch.device("cuda", 0)) == "fp32"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CUDA error: no kernel image is available\nFor debugging\nDSA handlers.", "CUDA error: no kernel"),
        ("The operation failed\nTraceback of TorchScript\nRuntimeError: sizes differ", "RuntimeError: s"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_of_a_long_error_is_told(text: str, line: str) -> None:
    assert cause(RuntimeError(text)).startswith(line)


def test_nothing_of_linux_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(machine.ctypes, "CDLL", lambda name: pytest.fail("there is no glibc"))

    def no_proc(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", no_proc)
    keep_freed_memory()
    assert cores() == os.cpu_count()
    assert not cpu_has_bf16()
    assert choose_precision("auto", CPU) == "fp32"
