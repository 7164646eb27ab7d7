"""The output folder: ours alone while we write, begun with settings that it notes, no place for losses."""

import contextlib
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from .errors import CannotStartError
from .files import TEMPORARY, write_whole
from .inputs import SETTINGS_FILE, VIDEOS_ALONE, Job

if sys.platform != "win32":
    import fcntl

FAILED = "failed"
"""In a video's note: it was not done whole."""


MASKS = ("parts/", "cutout")
"""How settings begin that say which labels a mask or a cutout has."""


def prepare_output(folder: Path) -> None:
    """Makes the folder, proves that it can be written, removes what a killed run left half-written.

    Raises CannotStartError.
    """
    try:
        write_whole(folder / f"{TEMPORARY}probe", b"")
        for leftover in folder.rglob(f"{TEMPORARY}*"):
            name = leftover.relative_to(folder).as_posix()
            if is_leftover(name) and not in_another_run(name, lambda note: (folder / note).is_file()):
                leftover.unlink()
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def is_leftover(name: str) -> bool:
    """Whether a path is of a file that was being written. The note of a video tmp-1.mp4 begins so, too."""
    return name.rpartition("/")[2].startswith(TEMPORARY) and not name.endswith(".json")


def in_another_run(name: str, is_file: Callable[[str], bool]) -> bool:
    """Whether a folder on the way to ``name``, which is relative to an output folder, is another run's.

    That may be at work: its own next run clears it.
    """
    parents = (parent.as_posix() for parent in Path(name).parents[:-1])
    return any(is_file(f"{parent}/{SETTINGS_FILE}") for parent in parents)


NEVER = math.inf
"""Since when outputs are of the settings of a folder that is yet to be claimed."""


def made_since(
    folder: Path,
    settings: dict[str, Any],
    overwrite: bool,
    not_asked: Callable[[], list[str]],
    note: str = SETTINGS_FILE,
) -> tuple[float, list[str]]:
    """The time since when the folder's outputs are of these settings, and what to tell of former ones.

    It is NEVER where the folder must be claimed first: nothing in it counts as done. ``not_asked`` names what
    the run no longer writes. Nothing is written: the models may yet fail to open. Raises CannotStartError.
    """
    path = folder / note
    try:
        before = path.read_bytes() if path.is_file() else VIDEOS_ALONE
        noted = before != VIDEOS_ALONE  # which says nothing of pictures
        others = _others(before, settings) if noted else ""
        if noted and not overwrite and not others:
            return path.stat().st_mtime, []
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None
    if overwrite or not others:
        return NEVER, []
    told = [f"{folder}: made with {others}; all of it is done anew"]
    if former := not_asked():
        told.append(f"of former settings, and not asked for now: {', '.join(former)}")
    return NEVER, told


def claim(folder: Path, settings: dict[str, Any], note: str = SETTINGS_FILE) -> float:
    """Notes the settings in the output folder; returns the time since when its outputs are of these settings.

    Raises CannotStartError.
    """
    path = folder / note
    try:
        write_whole(path, json.dumps(settings, indent=1).encode())
        return path.stat().st_mtime
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def forget(folder: Path, names: Iterable[str]) -> None:
    """Removes an earlier run's files, which this one writes anew: it may be killed before."""
    for name in names:
        with contextlib.suppress(OSError):  # the run's own write says why
            (folder / name).unlink()


def goes_on(before: bytes, settings: dict[str, Any]) -> bool:
    """Whether a folder with the note ``before`` was made as ``settings`` say.

    Parts and cutouts that nobody asks for now may be of any kind.
    """
    return not _others(before, settings)


def _others(before: bytes, settings: dict[str, Any]) -> str:
    """What of the settings was otherwise, and how it was."""
    try:
        former: dict[str, Any] = json.loads(before)
    except ValueError:
        return "unknown settings"
    if not former:
        return "videos alone"
    told: list[str] = []
    for name in {**former, **settings}:
        mask = name.startswith(MASKS)
        if name == FAILED:
            continue
        if former.get(name) == settings.get(name) or (mask and name not in settings):
            continue
        if name not in former:
            told.append(f"no {name}")
        elif mask or name == "model_sha256":
            told.append(f"another {name.removesuffix('_sha256')}")
        else:
            told.append(f"{name} {former[name]}")
    return ", ".join(told)


def refuse_collisions(outputs: Callable[[Job], Iterable[str]], jobs: list[Job]) -> None:
    """Raises CannotStartError if an output would replace another one."""
    seen: dict[str, Job] = {}
    for job in jobs:
        for name in outputs(job):
            other = seen.setdefault(name.casefold(), job)
            if other is not job:
                raise CannotStartError(
                    f"{job.source} and {other.source} would both be written to {name}: rename one"
                )


def refuse_replacing(outputs: Iterable[str], pictures: Iterable[str]) -> None:
    """Raises CannotStartError if an output would take the place of an input picture."""
    for path in sorted({*outputs}.intersection(pictures)):
        raise CannotStartError(f"{path} is an input picture, which an output would replace: change --output")


def refuse_foreign(found: Iterable[Path | str]) -> None:
    """Raises CannotStartError for outputs found in a folder that no predictor has written to."""
    for path in found:
        raise CannotStartError(f"{path} is there, and no predictor made it: choose another --output")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Locks the folder, which it makes. Raises CannotStartError while another process writes there.

    What can't start leaves no folder that was not there.

    The kernel frees the lock however that one ends. Some network file systems have none for folders.
    """
    with contextlib.ExitStack() as stack:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform != "win32":
                number = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, number)
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStartError(
                f"--output {folder}: another predictor writes there: wait for it"
            ) from None
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None
        try:
            yield
        except CannotStartError:
            with contextlib.suppress(OSError):  # not empty: something came to it after all
                for path in made:
                    path.rmdir()
            raise
