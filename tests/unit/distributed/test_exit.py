"""How a worker ends, and whether it starts again."""

from pathlib import Path

import pytest
import torch

import distributed
from distributed.exit import STATUS_FILE, finish, started_before
from distributed.launch import ROOT


def test_distributed_is_ours():
    """A wheel with a top-level "distributed" (dask's) must not stand before the checkout."""
    assert Path(distributed.__file__ or "").parent == ROOT / "distributed"


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
