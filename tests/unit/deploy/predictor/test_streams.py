"""Batches: bounded by pixels, and by what the device has room for; what a device's end leaves."""

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_helpers import face, files, parse, write_faces
from rich.console import Console

from deploy.predictor import streams
from deploy.predictor.console import say
from deploy.predictor.errors import CannotStartError, DeviceLostError
from deploy.predictor.faces.finder import Face
from deploy.predictor.inputs import Job
from deploy.predictor.model import ExportedModel, Prediction
from deploy.predictor.photos import Parsed, Photos
from deploy.predictor.pictures import Pixels
from deploy.predictor.report import Outcome, Seconds
from deploy.predictor.streams import Batches, Stream, run


class Counting:
    """A model that notes its batches, and a writer that notes its pictures."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.written: list[str] = []

    def __call__(self, pictures: Pixels) -> Prediction:
        self.shapes.append(pictures.shape[:3])
        return Prediction(np.zeros(pictures.shape[:3], np.uint8), [0.0] * len(pictures), None)

    def write(self, job: Job, picture: Pixels, parsed: Parsed) -> None:
        self.written.append(job.name)


def jobs(folder: Path, *sizes: tuple[int, int]) -> list[Job]:
    made: list[Job] = []
    for index, size in enumerate(sizes):
        face().resize(size).save(folder / f"{index}.png")
        made.append(Job(folder / f"{index}.png", str(index)))
    return made


def stream(fake: Counting, fit: str = "stretch") -> Stream:
    return Stream(fake, fake, 1, fit, 10**8)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fit", "shapes"),
    [
        ("stretch", [(4, 16, 16), (1, 16, 16), (2, 16, 32), (1, 40, 40)]),
        ("pad", [(4, 16, 16), (1, 16, 16), (1, 32, 32), (1, 32, 32), (1, 40, 40)]),
    ],
)
def test_a_batch_ends_before_its_pixels_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: str, shapes: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(streams, "BATCH_PIXELS", 1024 + 256)
    fake = Counting()
    sizes = [(16, 16)] * 4 + [(32, 16)] * 2
    batch = jobs(tmp_path, *sizes, (16, 16), (40, 40))  # the last alone is more than a batch may hold
    outcomes = list(stream(fake, fit).parse(batch, Seconds()))
    assert (
        sorted(outcome.job.name for outcome in outcomes) == sorted(fake.written) == [str(i) for i in range(8)]
    )
    assert all(not outcome.reason for outcome in outcomes)
    for shape in fake.shapes:
        assert shape[0] == 1 or shape[0] * shape[1] * shape[2] <= 1024 + 256
    assert sum(shape[0] for shape in fake.shapes) == 8
    assert sorted(fake.shapes) == sorted(shapes)


class Failing(Counting):
    """Has room for so many pictures at once; then it raises."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__()
        self.room, self.error = room, error

    def __call__(self, pictures: Pixels) -> Prediction:
        if len(pictures) > self.room:
            raise self.error
        return super().__call__(pictures)


MISSING = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
)


@pytest.mark.parametrize("error", [*MISSING, RuntimeError("unable to find an engine to execute this")])
def test_pictures_without_room_together_go_one_by_one(tmp_path: Path, error: Exception) -> None:
    fake = Failing(1, error)
    outcomes = list(stream(fake).parse(jobs(tmp_path, *[(16, 16)] * 3), Seconds()))
    assert [outcome.reason for outcome in outcomes] == ["", "", ""]
    assert fake.shapes == [(1, 16, 16)] * 3


@pytest.mark.parametrize("error", MISSING)
def test_a_picture_without_room_is_named(tmp_path: Path, error: Exception) -> None:
    (outcome,) = stream(Failing(0, error)).parse(jobs(tmp_path, (16, 16)), Seconds())
    assert outcome.reason == "network: out of memory"


def test_an_error_of_one_picture_is_its_own(tmp_path: Path) -> None:
    """The device still answers."""
    error = torch.AcceleratorError("CUDA error: invalid configuration argument\nand more lines")
    (outcome,) = stream(Failing(0, error)).parse(jobs(tmp_path, (16, 16)), Seconds())
    assert outcome.reason == "network: CUDA error: invalid configuration argument"


LOST = torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nand more lines")


def test_a_lost_device_is_no_pictures_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "device_answers", lambda device: False)
    with pytest.raises(DeviceLostError, match=r"illegal memory access was encountered$"):
        list(stream(Failing(0, LOST)).parse(jobs(tmp_path, *[(16, 16)] * 3), Seconds()))


@pytest.mark.parametrize(("count", "asked", "code"), [(6, False, 1), (3, True, 130)])
def test_a_lost_device_ends_the_run_at_once_and_what_is_done_stays(
    count: int,
    asked: bool,
    code: int,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two done and the device are no three done: a request that came meanwhile interrupted the run."""
    write_faces(tmp_path / "in", count)
    real, calls = ExportedModel.__call__, 0

    def lost_at_the_third(self: ExportedModel, pictures: Pixels) -> Any:
        nonlocal calls
        calls += pictures.shape[1:3] == (64, 48)  # not those of the warm-up
        if calls >= 3:
            if asked:
                os.kill(os.getpid(), signal.SIGTERM)
            raise LOST
        return real(self, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(ExportedModel, "__call__", lost_at_the_third)
        patch.setattr(streams, "device_answers", lambda device: False)
        assert parse(model, tmp_path / "in", tmp_path / "out", "--workers", "1") == code
    assert calls == 3
    shown = capsys.readouterr().out
    assert "failed: device: CUDA error: an illegal memory access was encountered; the same command" in shown
    assert "2 done, 0 done before, 1 failed" in shown
    assert files(tmp_path / "out") == ["face0.png", "face1.png"]
    assert parse(model, tmp_path / "in", tmp_path / "out", "--workers", "1") == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["done"], report["skipped"]) == (count - 2, 2)


def test_warm_up_runs_the_batch_to_come_or_what_has_room(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[int] = []
    room = 16

    def call(self: ExportedModel, pictures: Pixels) -> None:
        shapes.append(len(pictures))
        if len(pictures) > room:
            raise MISSING[0]

    monkeypatch.setattr(ExportedModel, "__call__", call)
    exported = ExportedModel(model, torch.device("cpu"), "fp32")
    exported.warm_up(16)
    room = 1
    exported.warm_up(16)
    assert shapes == [16, 16, 16, 1, 1]
    room = 0
    with pytest.raises(CannotStartError, match=r"doesn't run there \(out of memory\)"):
        exported.warm_up(16)


def test_a_writer_without_room_costs_its_picture_alone(tmp_path: Path) -> None:
    class Full(Counting):
        def write(self, job: Job, picture: Pixels, parsed: Parsed) -> None:
            if job.name == "1":
                raise MemoryError
            super().write(job, picture, parsed)

    fake, outcomes = Full(), list[Outcome]()
    run([stream(fake)], Batches(jobs(tmp_path, *[(16, 16)] * 3), 3), outcomes.append)
    assert fake.written == ["0", "2"]
    assert [outcome.job.name for outcome in outcomes if outcome.reason] == ["1"]


def test_names_that_are_no_utf8_are_told_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("left alone: caf\udce9.png", Console())
    assert capsys.readouterr().out == "left alone: caf\\xe9.png\n"


class Alone:
    """An engine that one thread at a time may enter."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.inside, self.calls = engine, 0, 0

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        self.inside += 1
        assert self.inside == 1
        result = self.engine.logits(images)
        self.inside -= 1
        self.calls += 1
        return result

    def labels(self, logits: torch.Tensor, height: int, width: int) -> torch.Tensor:
        return self.engine.labels(logits, height, width)


@pytest.mark.parametrize("photographs", [False, True])
def test_streams_of_one_gpu_share_its_network_alone(model: Path, tmp_path: Path, photographs: bool) -> None:
    """They read, search and write side by side."""
    together = threading.Barrier(4)

    class Writing(Counting):
        def write(self, job: Job, picture: Pixels, parsed: Parsed) -> None:
            together.wait(60)  # all four are here at once
            super().write(job, picture, parsed)

    class Searching(Photos):
        def faces(self, job: Job, picture: Pixels) -> list[Face] | None:
            together.wait(60)
            return [Face((8.0, 8.0, 16.0, 0.0), 1.0, ())]

    exported = ExportedModel(model, torch.device("cpu"), "fp32")
    exported.turn = threading.RLock()  # as on a GPU
    exported.engine = alone = Alone(exported.engine)
    photos = Searching(exported, None, "find") if photographs else None
    fake, outcomes = Writing(), list[Outcome]()
    shared = Stream(exported, fake, 1, "stretch", 10**8, photos)  # pyright: ignore[reportArgumentType]
    run([shared] * 4, Batches(jobs(tmp_path, *[(16, 16)] * 8), 1), outcomes.append)
    assert [outcome.reason for outcome in outcomes] == [""] * 8
    assert alone.calls == 8
