"""Loaders: no wait for pictures is endless, and none of their processes outlives them."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from lisa.config import Config, DataConfig, TrainConfig
from lisa.data.faces import DecodedFace, FaceDataset
from lisa.data.folders import find_pairs
from lisa.data.loader import Loader, begin_worker
from lisa.data.shared_memory import require_shared_memory
from lisa.errors import InputError, StopAskedError
from lisa.training.loop import fit
from lisa.world import World


class Faces(Dataset[DecodedFace]):
    """Numbers in place of faces; one of them never comes, one is too large for /dev/shm."""

    def __init__(self, hangs: int = -1, bursts: int = -1) -> None:
        self.hangs, self.bursts = hangs, bursts

    def __getitem__(self, index: int) -> DecodedFace:
        if index == self.hangs:
            time.sleep(10_000)
        if index == self.bursts:
            os.kill(os.getpid(), signal.SIGBUS)  # what writing to a full /dev/shm does
        return DecodedFace(torch.zeros(1), torch.zeros(1), index)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch waits 5 s, twice, for each process that hangs before it ends it."""
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.5)


def numbers(faces: list[DecodedFace]) -> list[int]:
    return [face.number for face in faces]


def loader_of(faces: Faces, world: World, workers: int = 1) -> Loader[list[int]]:
    return Loader(faces, [[0, 1], [2, 3], [4]], numbers, workers, world, kept=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_passes_begin_anew_and_their_processes_end(workers: int):
    loader = loader_of(Faces(), World(), workers)
    for _ in range(2):
        assert [loader.fetch() for _ in range(4)] == [[0, 1], [2, 3], [4], None]
    processes: list[Any] = [] if workers == 0 else loader.loader._iterator._workers  # pyright: ignore
    assert len(processes) == workers
    loader.close()
    assert not any(process.is_alive() for process in processes)


def test_processes_end_where_a_pass_has_no_batch_left():
    """As after a resume behind an epoch's last step: such an iterator has a length of 0."""
    loader = Loader(Faces(), [], numbers, 1, World(), kept=True)
    assert loader.fetch() is None
    started = processes(loader)
    loader.close()
    assert not any(process.is_alive() for process in started)


def test_a_picture_that_never_comes_is_told():
    loader = loader_of(Faces(hangs=2), World(patience=1))
    assert loader.fetch() == [0, 1]
    with pytest.raises(
        InputError, match=r"no pictures from the decoding processes for 1 s .* --data.workers 0"
    ):
        loader.fetch()
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_ends_the_wait_for_a_picture(workers: int):
    world = World()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: world.ask_to_stop())
    loader = loader_of(Faces(hangs=2), world, workers)
    try:
        assert loader.fetch() == [0, 1]
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        with pytest.raises(StopAskedError):
            loader.fetch()
    finally:
        signal.signal(signal.SIGUSR1, before)
        loader.close()
    world.ask_to_stop()  # outside of a wait it is only noted
    with pytest.raises(StopAskedError):
        loader.fetch()


def test_a_signal_within_the_decoding_is_no_bad_picture(make_faces: Callable[..., Path]):
    """Without processes the wait for a picture is its decoding, whose errors are told as a file's faults."""
    world = World()
    dataset = FaceDataset(find_pairs(make_faces(), "train"), 16)
    loader = Loader(dataset, [[0, 1], [2, 3]], numbers, 0, world, kept=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lisa.data.pairs.read_image", lambda path: world.ask_to_stop())
        with pytest.raises(StopAskedError):
            loader.fetch()
    assert not isinstance(StopAskedError(), Exception)  # others' "except Exception" lets it pass too


def test_a_worker_that_finds_no_room_is_told():
    loader = loader_of(Faces(bursts=0), World())
    with pytest.raises(InputError, match=r"process died .* room in /dev/shm.* --data.workers 0"):
        loader.fetch()
    loader.close()


def processes(loader: Loader[list[int]]) -> list[Any]:
    return loader.loader._iterator._workers  # pyright: ignore


@pytest.mark.parametrize("fetched", [1, 4], ids=["within a pass", "between two passes"])
def test_a_worker_that_dies_between_two_fetches_is_told_by_the_next_one(fetched: int):
    """Torch would raise at once, wherever training is: here in the sleep."""
    handler = signal.getsignal(signal.SIGCHLD)
    loader = loader_of(Faces(), World(), workers=2)
    for _ in range(fetched):
        loader.fetch()
    os.kill(processes(loader)[1].pid, signal.SIGKILL)
    time.sleep(0.5)  # SIGCHLD comes here
    with pytest.raises(InputError, match=r"process died \(process \d+: SIGKILL\).* --data.workers 0"):
        loader.fetch()
    loader.close()
    assert signal.getsignal(signal.SIGCHLD) == handler


def test_a_worker_that_dies_while_it_is_waited_for_ends_the_wait():
    loader = loader_of(Faces(hangs=2), World())
    assert loader.fetch() == [0, 1]
    threading.Timer(0.5, os.kill, (processes(loader)[0].pid, signal.SIGKILL)).start()
    with pytest.raises(InputError, match=r"process died \(process \d+: SIGKILL\)"):
        loader.fetch()
    loader.close()


def free(monkeypatch: pytest.MonkeyPatch, mebibytes: float) -> None:
    usage = SimpleNamespace(free=int(mebibytes * 2**20))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


def test_room_is_asked_for_all_workers_of_a_machine(monkeypatch: pytest.MonkeyPatch):
    free(monkeypatch, 64)
    require_shared_memory(9 * 2**20, 2, 1)  # 7 batches
    require_shared_memory(2**40, 0, 1)  # nothing goes through /dev/shm
    with pytest.raises(
        InputError, match=r"/dev/shm has 64 MiB free, and 2 decoding processes need 70 MiB: give"
    ):
        require_shared_memory(10 * 2**20, 2, 1)
    with pytest.raises(InputError, match="4 decoding processes need 126 MiB"):
        require_shared_memory(9 * 2**20, 2, 2)


def test_training_is_refused_where_dev_shm_is_small(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    free(monkeypatch, 0.01)
    root = str(make_faces())
    config = Config(data=DataConfig(root=root, size=32), train=TrainConfig(batch_size=2, epochs=1))
    with pytest.raises(InputError, match="/dev/shm has 0 MiB free"):
        fit(Config(config.data, train=config.train, output=str(tmp_path / "run")), World())
    assert not (tmp_path / "run").exists()


def test_a_worker_whose_training_process_has_gone_says_nothing(monkeypatch: pytest.MonkeyPatch):
    told = list[type[BaseException]]()
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: told.append(kind))
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    begin_worker(0)
    for error in (ConnectionResetError(), BrokenPipeError(), EOFError(), ValueError()):
        sys.excepthook(type(error), error, None)
    assert told == [ValueError]
