"""Files that are whole or absent: written under a temporary name in the same folder, then renamed."""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lisa.errors import InputError

PART = ".part"


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` so that ``path`` never holds half of it, whenever the process dies.

    Raises:
        InputError: no room, no permission, or a file too large for the file system.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(
            f"can't write {path}: {error.strerror}; make room or choose another place, "
            "then run the same command again"
        ) from error


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
                name = re.fullmatch(rf"\..+\.(\d+)\{PART}", part.name)
                if name and not Path("/proc", name[1]).exists():  # of write_whole, and nobody's work any more
                    part.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"can't write into {folder}: {error.strerror}; choose another place") from error


def claim_folder(folder: Path, marker: str, recipe: dict[str, Any]) -> None:
    """Make ``folder`` ours, or go on in it if it was begun with the same recipe, kept in the file ``marker``.

    Raises:
        InputError: it holds something else, or was begun with another recipe.
    """
    note = folder / marker
    make_folders([folder])
    if not note.exists():
        strangers = sorted(item.name for item in folder.iterdir())
        if strangers:
            raise InputError(
                f"{folder} is not empty ({strangers[0]}, ...) and has no {marker}; "
                "choose a new folder for --output"
            )
        write_json(note, recipe)
        return
    try:
        begun = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {note}: {error}; delete {folder} or choose another --output") from error
    differing = sorted(key for key in {*recipe, *begun} if recipe.get(key) != begun.get(key))
    if differing:
        was = ", ".join(f"{key}={begun.get(key)}" for key in differing)
        now = ", ".join(f"{key}={recipe.get(key)}" for key in differing)
        raise InputError(
            f"{folder} was begun with {was}, not {now}; run with the same settings, delete it, "
            "or choose another --output"
        )
