import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lisa.data import cache, parallel
from lisa.data.cache import IMAGES, INDEX, MASKS, CachedFaces, open_faces
from lisa.data.faces import FaceDataset, collate_same_size
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair
from lisa.data.synthetic import write_dataset
from lisa.errors import InputError
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import read_encoding

SIZE = 48


@pytest.fixture(autouse=True)
def one_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """Processes take seconds to import torch; only the slow test needs real ones."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(parallel, "available_cores", lambda: 1)


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    root = tmp_path / "faces"
    write_dataset(root, count=10, seed=2, size=64, workers=1)
    return find_pairs(root, "train")


def same(cached: CachedFaces, pairs: list[Pair]) -> bool:
    decoded = FaceDataset(pairs, SIZE)
    return len(cached) == len(decoded) and all(
        torch.equal(cached[i].image, decoded[i].image)
        and torch.equal(cached[i].mask, decoded[i].mask)
        and cached[i].number == i
        for i in range(len(pairs))
    )


def opened(pairs: list[Pair], folder: Path) -> CachedFaces:
    faces = open_faces(pairs, SIZE, str(folder))
    assert isinstance(faces, CachedFaces)
    return faces


def test_a_cache_of_another_version_is_built_anew(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    opened(pairs, tmp_path / "cache")
    index, before = tmp_path / "cache" / INDEX, cache.VERSION
    monkeypatch.setattr(cache, "VERSION", before + 1)
    assert same(opened(pairs, tmp_path / "cache"), pairs)
    assert json.loads(index.read_text())["version"] == before + 1


def test_the_index_comes_when_the_arrays_are_on_the_disk(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, synced, fsync = tmp_path / "cache", list[str](), os.fsync

    def noting(number: int) -> None:
        assert not (folder / INDEX).exists()
        synced.append(Path(f"/proc/self/fd/{number}").readlink().name)
        fsync(number)

    monkeypatch.setattr(os, "fsync", noting)
    opened(pairs, folder)
    assert {IMAGES, MASKS} <= {*synced}


def test_without_a_folder_nothing_is_cached(pairs: list[Pair]):
    assert isinstance(open_faces(pairs, SIZE), FaceDataset)


def test_cached_faces_equal_decoded_ones_and_are_built_once(pairs: list[Pair], tmp_path: Path):
    assert same(opened(pairs, tmp_path / "cache"), pairs)
    stamp = (tmp_path / "cache" / INDEX).stat().st_mtime_ns
    assert same(opened(pairs, tmp_path / "cache"), pairs)
    assert (tmp_path / "cache" / INDEX).stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "change",
    ["content", "time", "fewer", "swap", "turn", "encoding", "unfinished", "gone", "cut", "short", "no text"],
)
def test_a_cache_that_is_not_of_these_files_is_rebuilt(pairs: list[Pair], tmp_path: Path, change: str):
    opened(pairs, tmp_path / "cache")
    if change == "content":
        Image.new("RGB", (64, 64), (9, 99, 199)).save(pairs[2].image)
    elif change == "time":
        status = pairs[2].image.stat()
        shutil.copyfile(pairs[1].image, pairs[2].image)
        os.utime(pairs[2].image, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    elif change == "fewer":
        pairs = pairs[1:]
    elif change == "swap":
        pairs[2] = pairs[2]._replace(swap=True)
    elif change == "turn":
        pairs[2] = pairs[2]._replace(turn=3)
    elif change == "encoding":
        without_hair = read_encoding("celebamask-hq,13=ignore", CELEBAMASK)
        pairs = [pair._replace(encoding=without_hair) for pair in pairs]
    elif change == "gone":
        (tmp_path / "cache" / IMAGES).unlink()
    elif change == "cut":
        (tmp_path / "cache" / MASKS).write_bytes((tmp_path / "cache" / MASKS).read_bytes()[:200])
    elif change == "short":
        np.save(tmp_path / "cache" / MASKS, np.zeros((1, SIZE, SIZE), np.uint8))
    elif change == "no text":
        (tmp_path / "cache" / INDEX).write_bytes(b"\xff\xfe")
    else:
        (tmp_path / "cache" / INDEX).write_text('{"size": 4')
        (tmp_path / "cache" / IMAGES).write_bytes(b"")
    assert same(opened(pairs, tmp_path / "cache"), pairs)


@pytest.mark.slow
def test_several_processes_build_the_same_cache(pairs: list[Pair], tmp_path: Path):
    assert same(opened(pairs, tmp_path / "cache"), pairs)


def test_it_travels_to_workers_without_its_pixels(pairs: list[Pair], tmp_path: Path):
    faces = opened(pairs, tmp_path / "cache")
    packed = pickle.dumps(faces)
    assert len(packed) < SIZE * SIZE * 3
    assert same(pickle.loads(packed), pairs)  # noqa: S301
    loader = DataLoader(faces, batch_size=4, num_workers=1, collate_fn=collate_same_size)
    assert [tuple(images.shape) for images, _ in loader] == [(4, 3, SIZE, SIZE)] * 2


def test_a_folder_of_something_else_is_left_alone(pairs: list[Pair], tmp_path: Path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="other things"):
        opened(pairs, tmp_path)


def test_no_room_is_said_before_anything_is_written(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(InputError, match="larger disk"):
        opened(pairs, tmp_path / "cache")
    assert not (tmp_path / "cache" / IMAGES).exists()
