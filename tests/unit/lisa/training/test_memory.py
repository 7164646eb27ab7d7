"""Batches that don't fit into memory are cut into parts, and a person is told."""

import dataclasses
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.data.epoch_batches import EpochBatches
from lisa.errors import InputError
from lisa.models import NETWORKS, build
from lisa.run import checkpoint
from lisa.training.loop import fit
from lisa.training.memory import fitting_parts, require_memory, require_normalisable
from lisa.training.start import settle_parts
from lisa.world import World


def room_for(room: int, pictures: int, tried: list[int]) -> Callable[[int], None]:
    def step(parts: int) -> None:
        tried.append(parts)
        if -(-pictures // parts) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return step


@pytest.mark.parametrize(
    ("pictures", "room", "parts", "expected_tries"),
    [(40, 40, 1, [1]), (40, 12, 1, [1, 2, 4]), (5, 1, 1, [1, 2, 4, 5]), (8, 8, 2, [2]), (3, 1, 8, [3])],
)
def test_parts_double_until_one_fits(pictures: int, room: int, parts: int, expected_tries: list[int]):
    tried: list[int] = []
    found = fitting_parts(room_for(room, pictures, tried), pictures, parts)
    assert tried == expected_tries
    assert found == tried[-1]


class Trying:
    """A step that has room for so many pictures at once."""

    def __init__(self, room: int, parts: int, world: World) -> None:
        self.room, self.parts, self.world = room, parts, world
        self.state = SimpleNamespace(begun_with=1)
        self.tried: list[tuple[int, int]] = []

    def try_memory(self, pictures: int, parts: int) -> None:
        self.tried.append((pictures, parts))
        room_for(self.room, pictures, [])(parts)


@pytest.mark.parametrize(
    ("room", "parts", "fits"), [(8, 1, True), (4, 2, True), (1, 16, True), (3, 2, False)]
)
def test_a_step_without_room_is_refused_before_the_first_one(room: int, parts: int, fits: bool):
    step = Trying(room, parts, World())
    batches = EpochBatches(pictures=20, batch_size=8, seed=0)  # batches of 7, 7 and 6
    if fits:
        require_memory(step, batches, step.world)  # pyright: ignore[reportArgumentType]
    else:
        with pytest.raises(InputError, match=r"step of 4 picture\(s\) at a time doesn't fit .* --auto-batch"):
            require_memory(step, batches, step.world)  # pyright: ignore[reportArgumentType]
    assert step.tried == [(7, min(parts, 7))]


def test_on_a_gpu_each_run_tries_its_memory(monkeypatch: pytest.MonkeyPatch):
    """torchrun would start a worker again that fails in its first step."""
    world = World()
    monkeypatch.setattr(world, "device", torch.device("cuda", 0))
    step = Trying(3, 1, world)
    config = Config(train=TrainConfig(batch_size=8))
    with pytest.raises(InputError, match="step of 7 picture"):
        settle_parts(config, step, EpochBatches(20, 8, seed=0))  # pyright: ignore[reportArgumentType]


def test_no_room_for_one_picture_is_said():
    with pytest.raises(InputError, match=r"doesn't fit into memory, not even in 4 part\(s\): lower"):
        fitting_parts(room_for(0, 4, []), 4, 1)


def test_other_errors_pass():
    def step(parts: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        fitting_parts(step, 4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "NCCL error: unhandled cuda error\nLast error:\nCuda failure 2 'out of memory'",
        "MPS backend out of memory (MPS allocated: 17 GB)",
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory: you tried to allocate 64 bytes.",
    ],
)
def test_out_of_memory_is_known_in_all_its_spellings(text: str):
    tried: list[int] = []

    def step(parts: int) -> None:
        tried.append(parts)
        if parts < 4:
            raise RuntimeError(text)

    assert fitting_parts(step, 8, 1) == 4
    assert tried == [1, 2, 4]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_part_that_cannot_be_normalised_is_refused_before_training(name: str):
    network = build(ModelConfig(name=name))
    side = {"segnext": 32, "lisa_fold4": 64}.get(name, 16)
    require_normalisable(network, side, pictures=2)
    require_normalisable(network, 4 * side, pictures=1)
    with pytest.raises(InputError, match=f"data.size = {side}: .* with 1 picture.s. at a time: a larger"):
        require_normalisable(network, side, pictures=1)


def test_a_run_of_single_pictures_of_one_pixel_ends_in_a_line(
    make_faces: Callable[..., Path], tmp_path: Path
):
    """Batches of two in two parts: each part is one picture."""
    config = Config(
        data=DataConfig(root=str(make_faces()), size=16, workers=0),
        train=TrainConfig(epochs=1, batch_size=2, accumulate=2),
        output=str(tmp_path / "run"),
    )
    with pytest.raises(InputError, match="shrinks a picture to one pixel"):
        fit(config, World())
    assert not (tmp_path / "run/config.json").exists()


def test_the_cpus_allocator_is_understood():
    """A real failure: more memory than the process may have, in a fork, which has imported all there is."""
    room = 32 * 2**30

    def step(parts: int) -> None:
        torch.empty(2 * room // parts, dtype=torch.uint8)

    child = os.fork()
    if child == 0:
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * os.sysconf("SC_PAGE_SIZE") + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            os._exit(fitting_parts(step, 16, 1))
        finally:
            os._exit(100)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (2, 4)


def test_trying_leaves_the_run_as_it_was(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Statistics, weights and random numbers: the run with auto-batch ends as the one without."""
    config = Config(
        data=DataConfig(root=str(make_faces()), size=32, workers=0),
        optim=OptimConfig(ema_decay=0.9),
        train=TrainConfig(epochs=1, batch_size=2),
        output=str(tmp_path / "without"),
    )
    fit(config, World())
    tried = dataclasses.replace(
        config, train=dataclasses.replace(config.train, auto_batch=True), output=str(tmp_path / "with")
    )
    fit(tried, World())
    assert "auto-batch: 2 of a process's 2 pictures at a time, accumulate = 1" in capsys.readouterr().out
    left, right = (checkpoint.load(tmp_path / name / "last.pt")["weights"] for name in ("without", "with"))
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name
