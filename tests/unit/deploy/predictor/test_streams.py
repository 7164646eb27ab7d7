"""Batches: bounded by pixels, and by what the device has room for."""

from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import face

from deploy.predictor import streams
from deploy.predictor.inputs import Job
from deploy.predictor.model import Probabilities
from deploy.predictor.pictures import Pixels
from deploy.predictor.streams import Seconds, Stream


class Counting:
    """A model that notes its batches, and a writer that notes its pictures."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.written: list[str] = []

    def __call__(self, pictures: Pixels) -> tuple[Pixels, None]:
        self.shapes.append(pictures.shape[:3])
        return np.zeros(pictures.shape[:3], np.uint8), None

    def write(self, job: Job, picture: Pixels, labels: Pixels, probabilities: Probabilities | None) -> None:
        self.written.append(job.name)


def jobs(folder: Path, *sizes: tuple[int, int]) -> list[Job]:
    made: list[Job] = []
    for index, size in enumerate(sizes):
        face().resize(size).save(folder / f"{index}.png")
        made.append(Job(folder / f"{index}.png", str(index)))
    return made


def stream(fake: Counting, fit: str = "stretch") -> Stream:
    from contextlib import nullcontext

    return Stream(fake, fake, nullcontext(), 1, fit, 10**8)  # pyright: ignore[reportArgumentType]


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
