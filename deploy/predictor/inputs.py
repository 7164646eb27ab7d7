"""What --input names: the pictures, and the names of their outputs."""

import fnmatch
import glob
import itertools
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .errors import CannotStartError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".tga"),
)
"""Files with these endings are taken for pictures; others are left alone."""


SYSTEM_FOLDERS = {
    *("__macosx", "$recycle.bin", "system volume information", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
}
"""What operating systems and network drives leave among pictures: previews, leftovers, deleted files."""

SETTINGS_FILE = ".predict.json"
"""In an output folder: what made its outputs. Those older than this file are of other settings."""

PICTURE = "lisa:picture"
"""The text of a label map that tells which picture it was made of."""

HEAD = 4096
"""Bytes of a label map that hold all before its pixels: its palette, and which picture it was made of."""

VIDEOS_ALONE = b"{}"
"""That file's content in a folder with outputs of videos and of no pictures. It may be an album, too."""


def is_left_alone(name: str) -> bool:
    """Hidden files and folders (macOS's ._x.jpg, phones' trashed pictures), and systems' own folders."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


@dataclass(frozen=True)
class Job:
    """One picture and where its outputs go: ``name`` is the output's path without a suffix."""

    source: Path
    name: str


def find_pictures(source: str, output: Path, note: Callable[[str], object] = lambda text: None) -> list[Job]:
    """The pictures that ``--input`` names, sorted. Raises CannotStartError if there are none.

    A folder (with its subfolders, which are kept), one picture, a pattern such as "a/**/*.jpg", or a .txt
    file with one path per line, relative to the file's folder. ``note`` is told which linked folders were
    followed, and what was left alone.
    """
    path = Path(source)
    try:
        if path.is_dir():
            sources, base = find_in_folder(path, output, note), path
        elif path.suffix.lower() == ".txt" and path.is_file():
            sources = _listed(path)
            base = _common_folder(sources)
        elif not path.exists() and glob.has_magic(source):
            sources = _matches(source, output, note)
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


def _listed(path: Path) -> list[Path]:
    """The pictures that a file lists, once each. Raises OSError, UnicodeDecodeError, CannotStartError."""
    text = path.read_text(encoding="utf-8-sig")
    if "\0" in text:
        raise CannotStartError(f"--input {path}: NUL bytes in it: one path per line (find without -print0)")
    found: dict[tuple[str, str], Path] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        source = path.parent / line
        # abspath names its outputs; realpath is its file: .. behind a link leads elsewhere.
        found.setdefault((os.path.abspath(source), os.path.realpath(source)), source)  # noqa: PTH100
    return list(found.values())


def find_in_folder(root: Path, output: Path | None, note: Callable[[str], object]) -> list[Path]:
    """The pictures in and below a folder, sorted, and what only looks like one.

    That is a folder with a picture's ending, and one that can't be read. The output folder and those of
    earlier runs are not entered. Where a run was told to write among the pictures, its maps are none.
    """
    walk = Walk(root, output)
    found = walk.without_maps([path for path in walk.files() if path.suffix.lower() in SUFFIXES])
    walk.tell(note)
    return sorted([*found, *walk.unreadable])


def _matches(pattern: str, output: Path, note: Callable[[str], object]) -> list[Path]:
    """The files that a pattern names, sorted, but for those in the output folder if it doesn't name that."""
    parts = Path(pattern).parts
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    if "**" not in parts:
        found = [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207
        if output.resolve() in (fixed.resolve(), *fixed.resolve().parents):
            return found
        apart = [path for path in found if not _is_output(path, fixed)]
        return [path for path in apart if output.resolve() not in path.resolve().parents]
    if not fixed.is_dir():
        return []
    steps = parts[len(fixed.parts) :]
    walk = Walk(fixed, output, kept=frozenset(parts))
    found = [path for path in walk.files() if _fits(path.parts[len(fixed.parts) :], steps)]
    found = walk.without_maps(found)
    walk.tell(note)
    return sorted([*found, *walk.unreadable])


def _is_output(path: Path, below: Path) -> bool:
    """Whether an earlier run wrote into a folder between a file and the folder where its pattern begins."""
    between = itertools.takewhile(lambda folder: folder != below, path.parents)
    return any(has_outputs(folder) for folder in between)


def has_outputs(folder: Path) -> bool:
    """Whether an earlier run wrote outputs of pictures there."""
    note = folder / SETTINGS_FILE
    try:
        return note.read_bytes() != VIDEOS_ALONE
    except OSError:
        return os.path.lexists(note)


def is_label_map(path: Path) -> bool:
    """Whether a predictor wrote the file as a picture's labels."""
    try:
        if path.suffix.lower() != ".png" or not path.is_file():  # a pipe's opening would wait for ever
            return False
        with path.open("rb") as stored:
            return PICTURE.encode() in stored.read(HEAD)
    except OSError:
        return False


def _fits(parts: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    """Whether a path fits a pattern, of which ** is any number of folders."""
    if not steps:
        return not parts
    if steps[0] == "**":
        return any(_fits(parts[index:], steps[1:]) for index in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], steps[0]) and _fits(parts[1:], steps[1:])


@dataclass
class Walk:
    """The files below a folder. Every folder is entered once, by its own way before any link's.

    A link to a folder above is not followed: there is no end to it. ``kept`` are names that are not left
    alone here.
    """

    root: Path
    output: Path | None = None
    kept: frozenset[str] = frozenset()
    followed: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    left_alone: list[Path] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def files(self) -> list[Path]:
        """All but folders, and folders that have a picture's ending. Raises OSError for the root."""
        root = self.root.resolve()
        closed = {_identity(folder) for folder in (root, *root.parents)}
        if self.output is not None:
            closed.add(_identity(self.output))
        folders, links, found = deque([self.root]), deque[Path](), list[Path]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            if folder.is_symlink() and folder != self.root:
                (self.skipped if _identity(folder) in closed else self.followed).append(folder)
            if folder != self.root and _identity(folder) in closed:
                continue
            closed.add(_identity(folder))
            try:
                with os.scandir(folder) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except PermissionError:
                if folder == self.root:
                    raise
                self.unreadable.append(folder)  # reading it as a picture fails too: the report will say why
                continue
            if folder != self.root and has_outputs(folder):
                self.outputs.append(folder)
                continue
            for entry in entries:
                self._sort(entry, folders, links, found)
        return found

    def _sort(
        self, entry: os.DirEntry[str], folders: deque[Path], links: deque[Path], found: list[Path]
    ) -> None:
        path = Path(entry.path)
        is_link, looks_so = entry.is_symlink(), path.suffix.lower() in SUFFIXES
        is_folder = os.path.isdir(path) if is_link else entry.is_dir()  # noqa: PTH112 - no error for a loop
        if is_left_alone(entry.name) and entry.name not in self.kept:
            if is_folder or looks_so:
                self.left_alone.append(path)
            return
        if is_folder:
            (links if is_link else folders).append(path)
        if looks_so or not is_folder:
            found.append(path)

    def without_maps(self, found: list[Path]) -> list[Path]:
        """The files but for label maps, where an earlier run was told to write among the pictures."""
        if not has_outputs(self.root):
            return found
        maps = [path for path in found if is_label_map(path)]
        self.outputs += sorted(maps)
        return [path for path in found if path not in {*maps}]

    def tell(self, note: Callable[[str], object]) -> None:
        """What a user would want to know, in up to four lines."""
        for text, paths in (
            ("linked folders followed", self.followed),
            ("linked folders not followed, being visited already or endless", self.skipped),
            ("left alone, being hidden or a system's own", self.left_alone),
            ("left alone, being the outputs of earlier runs", self.outputs),
        ):
            if paths:
                names = [os.path.relpath(path, self.root) for path in paths[:3]] + ["..."] * (len(paths) > 3)
                note(f"{text}: {len(paths)} ({', '.join(names)})")


def _identity(path: Path) -> tuple[int, int] | None:
    """The same for all names of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _common_folder(paths: list[Path]) -> Path:
    if not paths:
        return Path()
    folders = [os.path.abspath(path.parent) for path in paths]  # noqa: PTH100 - resolve would follow links
    return Path(os.path.commonpath(folders))


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
