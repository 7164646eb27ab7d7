"""Files that are whole or absent: written under a temporary name in the same folder, then renamed."""

import codecs
import errno
import json
import os
import platform
import re
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lisa.errors import InputError

PART = ".part"

DAY = 24 * 60 * 60
"""Seconds; nothing is written for so long."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's mark does
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, option: str, errors: str = "strict") -> str:
    """A text file that a person may have written: UTF-8, or UTF-16 or UTF-32 with a byte order mark.

    ``option`` is what named the file, for messages. ``errors`` is what to do with bytes that are no UTF-8:
    "surrogateescape" keeps them, for file names.

    Raises:
        InputError: it can't be read, or is in an encoding that can't be told.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {option} {path}: {error.strerror}") from None
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content:
        raise InputError(f"{option} {path} is no text, or UTF-16 without a byte order mark: save it as UTF-8")
    try:
        return content.decode(encoding, errors if encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        name = encoding.removesuffix("-sig").upper()
        raise InputError(f"{option} {path}: line {line} is not {name}: save the file as UTF-8") from None


def printable(text: str) -> str:
    """The text with bytes of file names that are no UTF-8 escaped."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def is_stream(path: Path) -> bool:
    """Whether it is a device or a pipe, or leads to an open file by its name in /dev."""
    if str(path).startswith(("/dev/std", "/dev/fd/")):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Yields a temporary path beside ``path``: what is written there becomes ``path`` if nothing is raised.

    Raises:
        OSError: no room, no permission, a file too large for the file system, or ``path`` is a device or a
            pipe; it is as it was.
    """
    if is_stream(path):
        raise OSError(errno.EINVAL, "a device or a pipe, which no file may replace")
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{PART}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` never holds half of it, whenever the process dies.

    A device or a pipe, such as /dev/stdout, takes it as it comes; a link stays one.

    Raises:
        InputError: no room, no permission, or a file too large for the file system.
    """
    try:
        if is_stream(path):
            path.write_bytes(content)
            return
        with whole_file(Path(os.path.realpath(path))) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        room = "make room or " if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
        raise InputError(
            f"can't write {path}: {error.strerror}; {room}choose another place, then run the same command "
            "again"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where it is missing, damaged, or holds something else."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, the same bytes for the same content; file names may be no UTF-8."""
    write_whole(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def make_folders(folders: Iterable[Path]) -> None:
    """Make folders and clear away what a killed run left unfinished in them.

    Raises:
        InputError: a folder can't be made or cleared.
    """
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob(f".*{PART}"):
                if _is_abandoned(part):
                    part.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"can't write into {folder}: {error.strerror}; choose another place") from error


def _is_abandoned(part: Path) -> bool:
    """Whether whole_file wrote it, in a process that has ended: here, or elsewhere more than a day ago."""
    of_here = re.fullmatch(rf"\..+\.{re.escape(platform.node())}\.(\d+)\{PART}", part.name)
    if of_here is None:
        of_any_host = re.fullmatch(rf"\..+\..*\.\d+\{PART}", part.name)
        return of_any_host is not None and time.time() - part.stat().st_mtime > DAY
    try:
        os.kill(int(of_here[1]), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # another user's
        return False
    return False
