"""Lists of a data set's files, as the doctor or a person wrote them: to leave out, or to repair."""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from lisa.errors import InputError, listing
from lisa.system.files import printable, read_text


def read_file_list(path: Path, root: Path, option: str) -> frozenset[Path]:
    """The files of a list: one path a line, from ``root`` on; lines that start with # are comments.

    UTF-8, UTF-16 or Latin-1; names on the disk may be no UTF-8.

    Raises:
        InputError: the list can't be read, or names something that is no file under ``root``.
    """
    # Names may hold what str.splitlines takes for the end of a line.
    lines = read_text(path, option, "surrogateescape").split("\n")
    files: set[Path] = set()
    absent: list[str] = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        found = next((file for file in _readings(line, root) if _is_there(file)), None)
        if found is None or not found.is_relative_to(root):
            absent.append(printable(line.strip()))
        else:
            files.add(found)
    if absent:
        raise InputError(
            f"{option} {path} names files that are not there; was it made for another set?\n{listing(absent)}"
        )
    return frozenset(files)


def _is_there(file: Path) -> bool:
    """A folder counts if its name has an ending: the doctor lists one that lies in a picture's place."""
    return os.path.lexists(file) and (file.suffix != "" or not file.is_dir())


def _readings(line: str, root: Path) -> Iterator[Path]:
    """The files that a line may mean, the likeliest first, spelt as the set's own paths are."""
    absolute = os.path.abspath(root)  # noqa: PTH100 - resolve would follow links
    name = line.strip()
    latin = os.fsencode(name).decode("latin-1")  # a list in Latin-1 of names in UTF-8
    for text in (line.rstrip("\r"), name, latin, name.replace("\\", "/")):
        for form in (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
            if "\0" not in form:
                place = Path(os.path.normpath(os.path.join(absolute, form)))  # noqa: PTH118 - as above
                yield root / place.relative_to(absolute) if place.is_relative_to(absolute) else place
