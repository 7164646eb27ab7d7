"""Decoded training pictures in memory-mapped files, for accelerators that outrun the decoding.

A cache is a folder of two arrays and an index; ``python -m benchmarks.data.loading`` tells whether it pays.
It takes 1 MB a face at 512x512 and is rebuilt as a whole whenever a source file's size or time has changed.
"""

import fcntl
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lisa.data.faces import DecodedFace, FaceDataset, read_face
from lisa.data.pairs import Pair
from lisa.data.parallel import parallel_map
from lisa.errors import InputError
from lisa.system.files import make_folders, read_object, write_json

IMAGES, MASKS, INDEX, LOCK = "images.npy", "masks.npy", "index.json", "lock"
BYTES_PER_PIXEL = 4
VERSION = 2
"""Raise it when decoding or resizing changes: a cache of another version is built anew."""


class CachedFaces(Dataset[DecodedFace]):
    """What ``FaceDataset(pairs, size)`` gives, bit for bit, read from a cache."""

    def __init__(self, folder: Path, pairs: Sequence[Pair]) -> None:
        self.folder, self.pairs = folder, pairs
        self.images: NDArray[np.uint8] = np.load(folder / IMAGES, mmap_mode="r")
        self.masks: NDArray[np.uint8] = np.load(folder / MASKS, mmap_mode="r")

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedFaces, (self.folder, self.pairs)  # a pickled memmap would hold all its pixels

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> DecodedFace:
        image, mask = np.array(self.images[index]), np.array(self.masks[index])
        return DecodedFace(torch.from_numpy(image), torch.from_numpy(mask), index)


def open_faces(pairs: Sequence[Pair], size: int, cache: str = "") -> Dataset[DecodedFace]:
    """The pairs at ``size`` x ``size``: decoded at each access, or once into the folder ``cache``.

    Any number of processes may call this at once: one builds the cache, the others wait for it.

    Raises:
        InputError: the folder can't be written, has no room, or holds something else.
    """
    if not cache:
        return FaceDataset(pairs, size)
    folder = Path(cache)
    with _locked(folder):
        wanted = _index(pairs, size)
        if read_object(folder / INDEX) != wanted or not _is_whole(folder, len(pairs), size):
            _build(folder, pairs, size, wanted)
        return CachedFaces(folder, pairs)  # opened before another run may build another one here


def _index(pairs: Sequence[Pair], size: int) -> dict[str, Any]:
    """What the cache holds: every source file with its size and time."""

    def stamp(path: Path) -> list[Any]:
        status = path.stat()
        return [str(path.resolve()), status.st_size, status.st_mtime_ns]

    return {
        "version": VERSION,
        "size": size,
        "labels": pairs[0].encoding.labels.to_dict(),
        "encoding": pairs[0].encoding.table().tolist(),
        "faces": [[stamp(pair.image), stamp(pair.mask), pair.turn, pair.swap] for pair in pairs],
    }


def _is_whole(folder: Path, count: int, size: int) -> bool:
    """Whether both arrays are there with all their rows: somebody may have removed or cut one."""
    try:
        images = np.load(folder / IMAGES, mmap_mode="r")
        masks = np.load(folder / MASKS, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return (images.shape, masks.shape) == ((count, 3, size, size), (count, size, size))


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    strangers = _strangers(folder)
    if strangers:
        raise InputError(
            f"data.cache = {folder} holds other things ({strangers[0]}); choose a folder of its own"
        )
    make_folders([folder])
    try:
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise InputError(f"data.cache = {folder}: {error.strerror}; choose a folder of your own") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _strangers(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        item.name
        for item in folder.iterdir()
        if item.name not in (IMAGES, MASKS, INDEX, LOCK) and not item.name.startswith(".")
    )


class _Row(NamedTuple):
    folder: Path
    number: int
    pair: Pair
    size: int


def _build(folder: Path, pairs: Sequence[Pair], size: int, index: dict[str, Any]) -> None:
    """Decode all pairs. Without the index there is no cache: it comes when the arrays are on the disk."""
    _writable.cache_clear()
    for name in (INDEX, IMAGES, MASKS):
        (folder / name).unlink(missing_ok=True)
    needed, free = BYTES_PER_PIXEL * size * size * len(pairs), shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"data.cache = {folder} needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f} GB; "
            "choose a larger disk or leave data.cache empty"
        )
    open_memmap(folder / IMAGES, "w+", np.uint8, (len(pairs), 3, size, size)).flush()
    open_memmap(folder / MASKS, "w+", np.uint8, (len(pairs), size, size)).flush()
    rows = [_Row(folder, number, pair, size) for number, pair in enumerate(pairs)]
    for _ in parallel_map(_write_row, rows, "caching faces"):
        pass
    for name in (IMAGES, MASKS):
        with (folder / name).open("rb+") as array:  # a power cut must not leave an index of empty rows
            os.fsync(array.fileno())
    write_json(folder / INDEX, index)


def _write_row(row: _Row) -> None:
    images, masks = _writable(row.folder)
    face = read_face(row.pair, row.size, row.number)
    images[row.number], masks[row.number] = face.image.numpy(), face.mask.numpy()


@lru_cache(maxsize=1)
def _writable(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """This process's view of the arrays."""
    return np.load(folder / IMAGES, mmap_mode="r+"), np.load(folder / MASKS, mmap_mode="r+")
