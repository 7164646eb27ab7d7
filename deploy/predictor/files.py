"""Files: written whole or not at all, and what is asked about those that are there."""

import contextlib
import errno
import os
import uuid
from collections.abc import Generator
from pathlib import Path

TEMPORARY = ".predict-tmp-"


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A temporary file to write: it takes the place of ``path`` with all its content or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """The file appears with all its content or not at all. Raises OSError."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def changed_at(path: Path) -> float:
    """When the file, or the link to it, came to be as it is; its own date may be older, or in the future."""
    found = [path.stat(), path.lstat()]
    if os.name == "nt":  # whose ctime is the time of creation
        return max(max(each.st_mtime, each.st_ctime) for each in found)
    return max(each.st_ctime for each in found)


Version = tuple[int, int, int]


def version_of(path: Path) -> Version | None:
    """The same as long as a file's content is; None if it is gone. Modes and further links don't count."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def is_there(path: Path) -> bool:
    """Whether a file or a link is there; none has too long a name. Raises OSError if that is secret."""
    try:
        return path.is_file() or path.is_symlink()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def printable(path: Path) -> str:
    """The path with bytes that are no UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
