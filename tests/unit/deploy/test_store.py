"""Buckets as inputs and outputs: what lies in them, whose it is, and what may be written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from deploy.cluster import Store, arguments, find_pictures
from deploy.predictor.errors import CannotStartError
from deploy.predictor.inputs import Job
from deploy.predictor.model import read_metadata
from deploy.predictor.photo_options import settle_faces
from deploy.predictor.photos import Parsed
from deploy.store import StoreWriter
from deploy.store_outputs import claim, done_before, refuse_made_of_others


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    fsspec.filesystem("memory").store.clear()


def test_droppings_in_buckets_are_left_alone() -> None:
    source = Store("--input", "memory://photos")
    names = ("a/x.jpg", "a/._x.jpg", "__MACOSX/a/x.jpg", ".trash/x.jpg", "notes.txt")
    for name in (*names, "parsed/.predict.json", "parsed/x.png", "parsed/overlay/x.jpg"):
        source.write(name, b"")
    notes: list[str] = []
    found = find_pictures(source, Store("--output", "memory://elsewhere"), notes.append)
    assert [job.name for job in found] == ["a/x"]
    assert notes == ["left alone, being the outputs of earlier runs: parsed/"]


def test_errors_of_any_class_cost_one_file() -> None:
    """Remote file systems' libraries raise classes of their own."""

    class Away:
        def __getattr__(self, name: str) -> Any:
            def fail(*arguments: object, **options: object) -> None:
                raise RuntimeError("endpoint timed out\nsecond line")

            return fail

    store = Store("--output", "memory://away")
    store.files = Away()
    with pytest.raises(OSError, match=r"^endpoint timed out$"):
        store.write("x.png", b"map")
    with pytest.raises(OSError, match=r"^endpoint timed out$"):
        store.read("x.png")


def test_store_beyond_the_disk() -> None:
    store = Store("--output", "memory://parsed")
    settings = {"model_sha256": "1"}
    outputs = [["overlay/a/x.jpg", "a/x.png"]]
    store.write("a/x.png", b"map")
    with pytest.raises(CannotStartError, match=r"a/x\.png is there, and no predictor made it"):
        done_before(store, settings, outputs, overwrite=True)
    assert store.names() == ["a/x.png"]
    store.files.rm_file(store.path("a/x.png"))
    store.write("mine.png", b"not of this run")
    store.write("a/.predict-tmp-killed", b"half")
    assert done_before(store, settings, outputs, overwrite=False) == set()
    claim(store, settings, outputs)
    assert store.names() == [".predict.json", "mine.png"]
    store.write("a/x.png", b"map")
    assert "a/x.png" in done_before(store, settings, outputs, overwrite=False)
    assert done_before(store, {"model_sha256": "2"}, outputs, overwrite=True) == set()
    assert store.files.cat_file(store.path("a/x.png")) == b"map", "nothing is removed before it begins"
    claim(store, {"model_sha256": "2"}, outputs)
    assert store.names() == [".predict.json", "mine.png"]
    assert store.files.cat_file(store.path("mine.png")) == b"not of this run"


def test_maps_of_another_picture_in_a_bucket_do_not_count(model: Path) -> None:
    """Cameras repeat their names, in buckets too; a map that was corrected by hand stays as it is."""
    target = Store("--output", "memory://maps")
    asked = arguments(["--model", str(model), "--input", "memory://cam1", "--output", "memory://maps"])
    settle_faces(asked, read_metadata(model))
    writer = StoreWriter(read_metadata(model), asked, target)
    picture = np.zeros((8, 8, 3), np.uint8)
    jobs = [Job(Path(f"/cam{index}/a.jpg"), "a") for index in (1, 2)]
    refuse_made_of_others(target, writer, jobs)
    writer.write(jobs[0], picture, Parsed(picture[..., 0]))
    refuse_made_of_others(target, writer, jobs[:1])
    with pytest.raises(CannotStartError, match=r"made of another picture than /cam2/a\.jpg"):
        refuse_made_of_others(target, writer, jobs[1:])
    target.write("a.png", b"mine")
    with pytest.raises(CannotStartError, match="no predictor left it so"):
        refuse_made_of_others(target, writer, jobs[:1])


def test_names_in_buckets_are_no_patterns() -> None:
    store = Store("--output", "memory://parsed")
    names = ["trip [2024]/a.png", "q?/b.png", "all*/c.png"]
    for name in names:
        store.write(name, b"map")
    assert store.names() == sorted(names)
