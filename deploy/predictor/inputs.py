"""What --input names: the pictures, and the names of their outputs."""

import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import CannotStartError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".tga"),
)
"""Files with these endings are taken for pictures; others are left alone."""


@dataclass(frozen=True)
class Job:
    """One picture and where its outputs go: ``name`` is the output's path without a suffix."""

    source: Path
    name: str


def find_pictures(source: str, output: Path) -> list[Job]:
    """The pictures that ``--input`` names, sorted. Raises CannotStartError if there are none.

    A folder (with its subfolders, which are kept), one picture, a pattern such as "a/**/*.jpg", or a .txt
    file with one path per line, relative to the file's folder.
    """
    path = Path(source)
    try:
        if path.is_dir():
            sources, base = sorted(_walk(path, output.resolve())), path
        elif path.suffix.lower() == ".txt" and path.is_file():
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            sources = list(dict.fromkeys(path.parent / line.strip() for line in lines if line.strip()))
            base = _common_folder(sources)
        elif not path.exists() and glob.has_magic(source):
            sources = _without_outputs(_matches(source), source, output.resolve())
            base = _common_folder(sources)
        else:
            path.lstat()
            sources, base = [path], path.parent
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CannotStartError(f"--input {source}: {reason}") from None
    if not sources:
        raise CannotStartError(f"--input {source}: no pictures there ({', '.join(sorted(SUFFIXES))})")
    return name_outputs(sources, base)


def _matches(pattern: str) -> list[Path]:
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _without_outputs(paths: list[Path], pattern: str, output: Path) -> list[Path]:
    """What a pattern has found but for what lies in the output folder, unless it names that folder itself."""
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)).resolve()
    if output in (fixed, *fixed.parents):
        return paths
    return [path for path in paths if output not in path.resolve().parents]


def _common_folder(paths: list[Path]) -> Path:
    if not paths:
        return Path()
    folders = [os.path.abspath(path.parent) for path in paths]  # noqa: PTH100 - resolve would follow links
    return Path(os.path.commonpath(folders))


def _walk(root: Path, output: Path) -> Iterator[Path]:
    """Pictures, and what only looks like one: folders of that name, folders that can't be read.

    Folders behind links are not entered: no loops. The output folder isn't either.
    """
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if path.suffix.lower() in SUFFIXES:
                yield path
            if entry.is_dir(follow_symlinks=False) and path.resolve() != output:
                try:
                    yield from _walk(path, output)
                except PermissionError:
                    yield path  # reading it as a picture fails too, and that is what the report will say


def name_outputs(sources: list[Path], base: Path) -> list[Job]:
    """Output names: the stem, or the whole file name where another output would have the same name."""
    whole = [Path(os.path.relpath(path, base)) for path in sources]
    names = [name.with_suffix("").as_posix() for name in whole]
    while True:
        taken = Counter(name.casefold() for name in names)
        changed = [
            name if taken[name.casefold()] == 1 else full.as_posix()
            for name, full in zip(names, whole, strict=True)
        ]
        if changed == names:
            return [Job(path, name) for path, name in zip(sources, names, strict=True)]
        names = changed  # a whole name may be another's stem: "a.jpg" of "a.jpg.png"
