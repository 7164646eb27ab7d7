"""auto is one precision for all ranks; a run in bf16 computes in it and keeps its weights in fp32."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lisa.config import Config, DataConfig, TrainConfig
from lisa.evaluation.float32 import float32_precision, ieee_float32
from lisa.run import checkpoint
from lisa.training import precision
from lisa.training.loop import fit
from lisa.world import World


class Three(World):
    """Two ranks beside this one, of which the last has no bf16."""

    def all_gather(self, value: Any) -> list[Any]:
        return [value, True, False]


@pytest.mark.parametrize(("has", "settled"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_what_the_device_multiplies(has: bool, settled: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has})
    assert precision.settle_precision(Config(), World()).train.precision == settled


@pytest.mark.parametrize("asked", ["auto", "fp32", "tf32", "bf16"])
def test_ranks_agree_on_auto_and_keep_what_was_asked(asked: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    config = precision.settle_precision(Config(train=TrainConfig(precision=asked)), Three())
    assert config.train.precision == ("fp32" if asked == "auto" else asked)


def test_bf16_trains_fp32_weights(make_faces: Callable[..., Path], tmp_path: Path):
    config = Config(
        data=DataConfig(root=str(make_faces(train=4, val=1)), size=32, workers=0),
        train=TrainConfig(batch_size=2, epochs=1),
    )
    runs: dict[str, dict[str, torch.Tensor]] = {}
    for name in ("fp32", "bf16"):
        output = tmp_path / name
        fit(replace(config, train=replace(config.train, precision=name), output=str(output)), World())
        runs[name] = checkpoint.load(output / "last.pt")["weights"]
    assert {weight.dtype for weight in runs["bf16"].values()} == {torch.float32, torch.int64}
    assert any(not torch.equal(runs["bf16"][name], weight) for name, weight in runs["fp32"].items())


@pytest.mark.parametrize(("asked", "product"), [("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")])
def test_tf32_only_by_name(asked: Any, product: str):
    """The switches alone, without a GPU: training has what was asked for, evaluation IEEE, then as before."""
    cuda = torch.device("cuda")
    cudnn: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    with precision.arithmetic(TrainConfig(precision=asked), cuda):
        assert [backend.fp32_precision for backend in backends] == [product, product]
        with ieee_float32(cuda):
            assert [backend.fp32_precision for backend in backends] == ["ieee", "ieee"]
        assert [backend.fp32_precision for backend in backends] == [product, product]
    assert [backend.fp32_precision for backend in backends] == before


def test_threads_inside_together_leave_the_switches_as_they_were():
    cuda = torch.device("cuda")
    cudnn: Any = torch.backends.cudnn
    backends = (torch.backends.cuda.matmul, cudnn.conv)
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "tf32"
    try:
        first, second = ieee_float32(cuda), ieee_float32(cuda)
        first.__enter__()
        second.__enter__()  # as another thread that comes in between
        first.__exit__(None, None, None)
        assert [backend.fp32_precision for backend in backends] == ["ieee", "ieee"]
        second.__exit__(None, None, None)
        assert [backend.fp32_precision for backend in backends] == ["tf32", "tf32"]
        with ieee_float32(cuda), float32_precision("tf32", cuda):
            with ieee_float32(cuda):
                pass
            assert [backend.fp32_precision for backend in backends] == ["tf32", "tf32"]
    finally:
        for backend, former in zip(backends, before, strict=True):
            backend.fp32_precision = former


def test_deterministic_kernels_are_asked_for_and_given_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with precision.arithmetic(TrainConfig(deterministic=True), torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
