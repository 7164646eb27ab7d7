"""Encodings: which id in a mask file is which label of a set.

An encoding is written as one of

- ``""``: the set's own ids;
- ``lapa``, ``celebamask-hq``, ``face-parsing.pytorch``, ...: a known order of ids, carried over to the set by
  the roles of its labels, so that CelebAMask-HQ's masks train a ``lapa`` network;
- ``0=background,1=skin,13=ignore,14=skin``: ids and labels. Behind a known order and a comma, such pairs
  change it: ``celebamask-hq,18=ignore``;
- ``background,skin,nose``: the labels of ids 0, 1, 2, ...;
- a .toml or .json file with a table ``ids``: ``0 = "background"``.

Several ids may be one label, and an id may be ``ignore``: it neither trains nor counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lisa.errors import InputError
from lisa.labels.label_set import BUILT_IN, IGNORE, IGNORE_INDEX, LabelSet, read_label_set, read_table

UNKNOWN = 254
"""What a table gives for an id that the encoding doesn't name."""

FACE_PARSING = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose",
    "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
"""CelebAMask-HQ's labels by id as in https://github.com/zllrunning/face-parsing.PyTorch and many after it."""

SET_OF_ORDER: Mapping[str, str] = MappingProxyType({
    **{name: name for name in BUILT_IN},
    "celebamask-hq": "celebamask",
    "face-parsing.pytorch": "celebamask",
    "helen": "lapa",
})  # fmt: skip
"""Known orders of ids, and the label set whose names they use."""

OPTION = "--data.encoding"


@dataclass(frozen=True)
class Encoding:
    """``ids[id in a mask]`` is the name of a label, or "ignore"; an id without an entry has no meaning.

    ``ignored`` names labels of a known order that have no counterpart in the set: their pixels are ignored.
    """

    labels: LabelSet
    ids: Mapping[int, str]
    ignored: tuple[str, ...] = ()

    def table(self) -> NDArray[np.uint8]:
        """``table[id in a mask]`` is the id in the set: uint8 (256,); no meaning gives UNKNOWN.

        255 is ignored whatever the encoding says of other ids.
        """
        table = np.full(256, UNKNOWN, np.uint8)
        table[IGNORE_INDEX] = IGNORE_INDEX
        for index, name in self.ids.items():
            table[index] = IGNORE_INDEX if name == IGNORE else self.labels.ids[name]
        return table

    def inverse_table(self) -> NDArray[np.uint8]:
        """``table[id in the set]`` is the smallest such id in a mask: uint8 (256,); none gives UNKNOWN."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[IGNORE_INDEX] = IGNORE_INDEX
        for index in sorted(self.ids, reverse=True):
            if self.ids[index] != IGNORE:
                table[self.labels.ids[self.ids[index]]] = index
        return table

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels that no id in a mask is."""
        present = set(self.ids.values())
        return tuple(name for name in self.labels.names if name not in present)


def read_encoding(text: str, labels: LabelSet) -> Encoding:
    """The encoding that ``text`` writes, as the module's docstring says, onto the labels of a set.

    Raises:
        InputError: an unknown order or label, an id outside 0 to 255 or given twice, a file that can't be
            read, or a known order one of whose labels covers several labels of the set.
    """
    if not text:
        return Encoding(labels, dict(enumerate(labels.names)))
    first, *others = (part.strip() for part in text.split(","))
    if first.lower() in SET_OF_ORDER:
        return _known(first.lower(), _pairs(others, labels), labels)
    if Path(text).suffix.lower() in (".toml", ".json"):
        return Encoding(labels, _from_file(Path(text), labels))
    if "=" in text:
        return Encoding(labels, _pairs([first, *others], labels))
    if not others:
        raise InputError(
            f"{OPTION} {text}: no known order; give one of {', '.join(SET_OF_ORDER)}, ids as "
            f"0={labels.names[0]},1={labels.names[1]},..., or a .toml or .json file"
        )
    return _by_names([first, *others], labels)


def _known(order: str, changes: Mapping[int, str], labels: LabelSet) -> Encoding:
    """A known order, but for the ids in ``changes``."""
    source = read_label_set(SET_OF_ORDER[order])
    names = FACE_PARSING if order == "face-parsing.pytorch" else source.names
    ids = {index: name for index, name in enumerate(names) if index not in changes}
    meaning = {index: _counterpart(source, name, f"{order},{index}", labels) for index, name in ids.items()}
    ignored = tuple(ids[index] for index in ids if meaning[index] == IGNORE)
    return Encoding(labels, {**meaning, **changes}, ignored)


def _counterpart(source: LabelSet, name: str, remedy: str, labels: LabelSet) -> str:
    """The label of ``labels`` with the roles of ``name`` in ``source``, else with its name, else "ignore"."""
    if source == labels:
        return name
    roles = source.labels[source.ids[name]].roles
    found = [labels.names[labels.by_role[role]] for role in roles if role in labels.by_role]
    several = sorted(set(found), key=labels.ids.__getitem__)
    if len(several) > 1:
        raise InputError(
            f"{OPTION}: {name} of {source.name} may be {', '.join(several)} of label set {labels.name}; say "
            f"which: {OPTION} {remedy}={found[0]}, or {remedy}=ignore"
        )
    if several:
        return several[0]
    return name if name in labels.ids else IGNORE


def _pairs(parts: list[str], labels: LabelSet) -> dict[int, str]:
    """``["0=background", "13=ignore"]`` as a mapping. Raises InputError."""
    found: dict[int, str] = {}
    for part in parts:
        index, equals, name = part.partition("=")
        if not equals:
            raise InputError(f"{OPTION}: {part!r} should be an id and a label: 13=hair")
        _add(found, index.strip(), name.strip(), labels, OPTION)
    return found


def _from_file(path: Path, labels: LabelSet) -> dict[int, str]:
    ids = read_table(path, OPTION).get("ids")
    if not isinstance(ids, dict) or not ids:
        raise InputError(f'{OPTION} {path}: needs a table of ids: 0 = "background"')
    found: dict[int, str] = {}
    for index, name in ids.items():
        _add(found, str(index), str(name), labels, f"{OPTION} {path}")
    return found


def _add(found: dict[int, str], index: str, name: str, labels: LabelSet, where: str) -> None:
    if not index.isdecimal() or int(index) > 255:
        raise InputError(f"{where}: {index!r} is no id: whole numbers from 0 to 255")
    if int(index) in found:
        raise InputError(f"{where}: id {int(index)} comes twice")
    if not name:
        raise InputError(f"{where}: id {int(index)} has no label: give one, or {IGNORE}")
    if name != IGNORE and name not in labels.ids:
        raise InputError(
            f"{where}: id {int(index)} is {name!r}, which is no label of {labels.name} "
            f"({', '.join(labels.names)}); {IGNORE} leaves its pixels out"
        )
    found[int(index)] = name


def _by_names(names: list[str], labels: LabelSet) -> Encoding:
    twice = sorted({name for name in names if names.count(name) > 1 and name != IGNORE})
    if twice:
        raise InputError(f"{OPTION}: {', '.join(twice)} more than once; for that give ids: 0={names[0]},...")
    return Encoding(labels, _pairs([f"{index}={name}" for index, name in enumerate(names)], labels))
