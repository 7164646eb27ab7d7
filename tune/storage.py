"""Where trials keep their runs: a folder that all workers see, or a URL that fsspec can read and write."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lisa.errors import InputError
from lisa.run.names import BEST, CONFIG, LAST, LOG
from lisa.system.files import make_folders, write_whole

KEPT = (BEST, LOG, CONFIG, LAST)
"""A trial's files that are mirrored to a URL, in this order: last.pt never refers to a missing file."""


def is_url(place: str) -> bool:
    """Whether the place is behind a protocol of fsspec."""
    return "://" in place


def absolute(place: str) -> str:
    """The place as every worker must see it: trials run in folders of Ray's own."""
    return place.rstrip("/") if is_url(place) else str(Path(place).absolute())


def file_system(url: str) -> tuple[Any, str]:
    """The URL's file system and the path within. Raises InputError for one that fsspec can't open."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ValueError, ImportError, OSError) as error:
        raise InputError(f"{url}: {error}") from None


def put_text(place: str, name: str, text: str) -> None:
    """Writes a small file into a folder or behind a URL."""
    if is_url(place):
        files, root = file_system(place)
        files.pipe_file(f"{root}/{name}", text.encode())
    else:
        write_whole(Path(place) / name, text.encode())


class TrialFolder:
    """A trial's run folder: ``path`` is on this machine, and mirrored where ``place`` is a URL."""

    def __init__(self, place: str, path: Path) -> None:
        self.path = path
        self._remote = file_system(place) if is_url(place) else None

    def fetch(self) -> None:
        """Brings what an earlier life of the trial left."""
        make_folders([self.path])
        if self._remote is None:
            return
        files, root = self._remote
        for name in KEPT:
            if files.exists(f"{root}/{name}"):
                files.get_file(f"{root}/{name}", str(self.path / name))

    def push(self) -> None:
        """Mirrors the run folder; each file is whole or absent behind the URL too.

        The run may replace its files meanwhile. They are opened in the order in which they refer to one
        another, so that what last.pt refers to is as old as it, or newer.
        """
        if self._remote is None:
            return
        files, root = self._remote
        files.makedirs(root, exist_ok=True)
        with ExitStack() as opened:
            present = [name for name in reversed(KEPT) if (self.path / name).exists()]
            streams = {name: opened.enter_context((self.path / name).open("rb")) for name in present}
            for name in reversed(present):
                with files.open(f"{root}/{name}.part", "wb") as remote:
                    shutil.copyfileobj(streams[name], remote)
                files.mv(f"{root}/{name}.part", f"{root}/{name}")


@contextmanager
def open_trial_folder(results: str, name: str) -> Generator[TrialFolder]:
    """The folder ``trials/name`` of the search's results, with what is there already."""
    place = f"{results}/trials/{name}"
    if is_url(results):
        with tempfile.TemporaryDirectory(prefix="lisa-trial-") as scratch:
            folder = TrialFolder(place, Path(scratch))
            folder.fetch()
            yield folder
    else:
        folder = TrialFolder(place, Path(place))
        folder.fetch()
        yield folder


def _require_private(folder: Path) -> None:
    """Makes it. Raises InputError if somebody else could have put faces there: the name can be guessed."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; set TMPDIR to a folder of your own") from None
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not private:
        raise InputError(f"{folder} is not yours alone: remove it, or set TMPDIR to a folder of your own")


def local_data(root: str) -> str:
    """The data's folder on this machine; data behind a URL is copied once per machine."""
    if not is_url(root):
        return root
    name = f"lisa-data-{os.getuid()}-{hashlib.sha256(root.encode()).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir()) / name
    _require_private(folder)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            files, path = file_system(root)
            files.get(path.rstrip("/") + "/", str(folder / "faces") + "/", recursive=True)
            (folder / "complete").touch()
    return str(folder / "faces")
