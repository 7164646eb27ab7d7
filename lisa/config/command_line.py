"""Command lines around a config: a recipe's name or a config file, then every field by its dotted name.

``python -m lisa.config ARGUMENTS`` only checks a training command: the launcher does so before it starts
processes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from lisa.config import RECIPES, Config, best
from lisa.errors import InputError
from lisa.system.files import read_text

USAGE = f"[{' | '.join(RECIPES)} | --config FILE]"
"""What stands before the options in a usage line."""

T = TypeVar("T")

Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""A flag without a value and without a --no- twin."""


@dataclass(frozen=True)
class TrainArguments:
    """What a training command was asked for."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    resume: Switch = False
    """Go on with the run in --output."""


def parse_training(arguments: Sequence[str]) -> TrainArguments:
    """Parses ``[RECIPE | --config FILE] [--options]``; without either, the recipe is ``best``."""
    return parse(
        arguments,
        TrainArguments,
        best,
        "./launch.sh",
        "Trains a face parser. Without any argument: a demonstration on synthetic faces.",
    )


def parse(
    arguments: Sequence[str],
    make: Callable[[Config], T],
    default: Callable[[], Config],
    prog: str,
    description: str,
) -> T:
    """Parses a command line around a config: the recipe or --config FILE in any place, and the options.

    Options override what the recipe or the file says, wherever they stand. ``make`` gives the defaults around
    a config, an instance of a dataclass; ``default`` is the recipe of a command without one.

    Raises:
        InputError: an unknown recipe, a file that can't be used, two of them, or a value out of its range.
    """
    words = list(arguments)
    files = list(_take_config_files(words))
    recipe = _take_recipe(words, _switches(type(make(default()))))
    if len(files) + (recipe is not None) > 1:
        raise InputError(f"{', '.join([*files, *filter(None, [recipe])])}: one config file or one recipe")
    config = _read_config(Path(files[0])) if files else RECIPES[recipe]() if recipe else default()
    defaults = make(config)
    return tyro.cli(
        type(defaults), prog=f"{prog} {USAGE}", description=description, args=words, default=defaults
    )


def _take_config_files(words: list[str]) -> Iterator[str]:
    """Takes ``--config FILE`` and ``--config=FILE`` off the words, wherever they stand; yields the files."""
    position = 0
    while position < len(words):
        flag, equals, file = words[position].partition("=")
        if flag != "--config":
            position += 1
            continue
        if not equals:
            file = words.pop(position + 1) if position + 1 < len(words) else ""
        if not file or (not equals and file.startswith("--")):
            raise InputError("--config: which file?")
        words.pop(position)
        yield file


def _read_config(path: Path) -> Config:
    text = read_text(path, "--config")
    try:
        return Config.from_json(text)
    except InputError as error:
        raise InputError(f"--config {path}: {error}") from None


def _take_recipe(words: list[str], switches: frozenset[str]) -> str | None:
    """Takes a recipe's name off the words, unless it is the value of a flag that takes one."""
    for position, word in enumerate(words):
        before = words[position - 1] if position else ""
        is_value = before.startswith("--") and "=" not in before and before.replace("_", "-") not in switches
        if word in RECIPES and not is_value:
            return words.pop(position)
    if words and not words[0].startswith("-"):
        raise InputError(f"no recipe {words[0]!r}: one of {', '.join(RECIPES)}")
    return None


def _switches(kind: type[Any], prefix: str = "") -> frozenset[str]:
    """The flags of a dataclass that take no value, as tyro names them."""
    found: set[str] = set()
    for name, hint in get_type_hints(kind, include_extras=True).items():
        extras = getattr(hint, "__metadata__", ())
        base = hint.__origin__ if extras else hint
        name = name.replace("_", "-")
        if dataclasses.is_dataclass(base):
            unprefixed = any(getattr(extra, "name", None) == "" for extra in extras)
            found |= _switches(base, prefix if unprefixed else f"{prefix}{name}.")  # pyright: ignore
        elif base is bool:
            aliases = [alias[2:] for extra in extras for alias in getattr(extra, "aliases", None) or ()]
            found |= {f"--{no}{alias}" for alias in aliases for no in ("", "no-")}
            found |= {f"--{prefix}{no}{name}" for no in ("", "no-")}
    return frozenset(found)
