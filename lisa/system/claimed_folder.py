"""A folder that a command began, and goes on in only as it was begun: its recipe lies there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lisa.errors import InputError
from lisa.system.files import make_folders, write_json

Recipe = dict[str, Any]


def claim_folder(
    folder: Path, marker: str, recipe: Recipe, upgrade: Callable[[Recipe], Recipe] = lambda begun: begun
) -> None:
    """Make ``folder`` ours, or go on in it if it was begun with the same recipe, kept in the file ``marker``.

    ``upgrade`` puts an older version's recipe into today's words.

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
    require_same_recipe(str(folder), upgrade(read_recipe(note.read_bytes, str(folder), marker)), recipe)


def read_recipe(read: Callable[[], bytes], place: str, marker: str) -> Recipe:
    """The recipe in a place's marker, whose content ``read`` gives. Raises InputError if it can't be read."""
    try:
        recipe = json.loads(read())
        if not isinstance(recipe, dict):
            raise ValueError("it holds no object")
    except (OSError, ValueError) as error:
        remedy = f"delete {place} or choose another --output"
        raise InputError(f"can't read {place}/{marker}: {error}; {remedy}") from error
    return recipe


def require_same_recipe(place: str, begun: Recipe, recipe: Recipe) -> None:
    """Raises InputError, which names what differs, if a place was begun with another recipe."""
    differing = sorted(key for key in {*recipe, *begun} if recipe.get(key) != begun.get(key))
    if differing:
        was = ", ".join(f"{key}={begun.get(key)}" for key in differing)
        now = ", ".join(f"{key}={recipe.get(key)}" for key in differing)
        raise InputError(
            f"{place} was begun with {was}, not {now}; run with the same settings, delete it, "
            "or choose another --output"
        )
