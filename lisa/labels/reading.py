"""Label sets by name or from files, and what is asked of files that users write."""

import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from lisa.errors import InputError
from lisa.labels.label_set import LabelSet
from lisa.labels.sides import other_sides, plain_name
from lisa.system.files import read_text

BUILT_IN = ("celebamask", "lapa", "face-synthetics", "coarse")


def read_label_set(source: str) -> LabelSet:
    """A built-in set by its name, or the set in a TOML or JSON file.

    Raises:
        InputError: neither; or the file can't be read or holds no valid set.
    """
    if source in BUILT_IN:
        text = resources.files("lisa.labels").joinpath(f"{source}.toml").read_text(encoding="utf-8")
        return LabelSet.from_dict(tomllib.loads(text), source)
    path = Path(source)
    if path.suffix.lower() not in (".toml", ".json"):
        raise InputError(f"--labels {source}: one of {', '.join(BUILT_IN)}, or a .toml or .json file")
    found = LabelSet.from_dict(read_table(path, "--labels"), str(path))
    first = found.labels[0]
    if first.roles and "background" not in first.roles:
        raise InputError(
            f"--labels {path}: {first.name} comes first, so what no face covers would be {first.name}: put a "
            "background before it"
        )
    if found.name in BUILT_IN and found != read_label_set(found.name):
        raise InputError(
            f"--labels {path}: is another set than the built-in {found.name}: give it another name"
        )
    refuse_unlearnable(found)
    _refuse_odd_pairs(found, f"--labels {path}")
    return found


def stored_label_set(values: Mapping[str, Any], where: str) -> LabelSet:
    """The set in a config, a checkpoint or an exported file. Raises InputError.

    Sides had not always to be paired: whoever has such a file can't change it, so they are paired here.
    """
    return LabelSet.from_dict(values, where).paired()


def refuse_unlearnable(labels: LabelSet) -> None:
    """Raises InputError for sides that are no pair, and for a background that is not the first label.

    Asked where labels are chosen and as training begins: an older network is read as it is.
    """
    where = f"label set {labels.name}"
    for name in labels.names[1:]:
        if plain_name(name) == "background":  # the means without background would leave another label out
            raise InputError(f"{where}: {name} is not the first label: put it first, its id is 0")
    for one, other in labels.unpaired:
        raise InputError(
            f"{where}: {one} and {other} are left and right: name them in pairs, or they would not change "
            "places in a mirrored picture"
        )


def _refuse_odd_pairs(labels: LabelSet, where: str) -> None:
    """Sides that would not change places in a mirrored picture, or would with another part's.

    Asked of files that users write: a network that was trained with such labels is read as before.
    """
    by_plain_name = {plain_name(name): name for name in labels.names}
    for name, flipped in zip(labels.names, labels.flipped_ids, strict=True):
        partner = labels.names[flipped]
        others = [by_plain_name[other] for other in other_sides(plain_name(name)) if other in by_plain_name]
        if not others or partner in others:
            continue
        if partner != name:
            raise InputError(
                f"{where}: {name} is in a pair with {partner}, which it would become in a mirrored "
                f"picture, but by its name its other side is {others[0]}: put these two in a pair"
            )
        raise InputError(
            f"{where}: {name} and {others[0]} differ in l and r alone: name them in pairs, or they would not "
            "change places in a mirrored picture; if they are no left and right, give one another name"
        )


def read_table(path: Path, option: str) -> dict[str, Any]:
    """The table in a .toml or .json file. Raises InputError, which names the option."""
    text = read_text(path, option)
    try:
        if path.suffix.lower() == ".json":
            table: Any = json.loads(text, object_pairs_hook=without_repeats)
        else:
            table = tomllib.loads(text)
    except InputError as error:
        raise InputError(f"{option} {path}: {error}") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{option} {path}: can't be read: {error}") from None
    if not isinstance(table, dict):
        raise InputError(f"{option} {path}: holds no table")
    return table


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; Python's own reader would keep the last of two equal names. Raises InputError."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f"{key!r} comes twice")
        found[key] = value
    return found
