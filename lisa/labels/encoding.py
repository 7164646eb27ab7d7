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
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lisa.errors import InputError
from lisa.labels.label_set import IGNORE, IGNORE_INDEX, LabelSet
from lisa.labels.reading import BUILT_IN, read_label_set, read_table
from lisa.labels.roles import BESIDE

FILES = (".toml", ".json")

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
    "zllrunning": "celebamask",
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
    ids: Mapping[int, str] = field(hash=False)
    ignored: tuple[str, ...] = ()
    text: str = ""
    """What it was read from; empty for the set's own ids."""

    def table(self) -> NDArray[np.uint8]:
        """``table[id in a mask]`` is the id in the set: uint8 (256,); no meaning gives UNKNOWN.

        255 is ignored unless the encoding makes it a label.
        """
        table = np.full(256, UNKNOWN, np.uint8)
        table[IGNORE_INDEX] = IGNORE_INDEX
        for index, name in self.ids.items():
            table[index] = IGNORE_INDEX if name == IGNORE else self.labels.ids[name]
        return table

    @property
    def ignores_255(self) -> bool:
        """False where it is the id of a label, as in binary masks."""
        return self.ids.get(IGNORE_INDEX, IGNORE) == IGNORE

    @property
    def missing(self) -> tuple[str, ...]:
        """Labels that no id in a mask is."""
        present = set(self.ids.values())
        return tuple(name for name in self.labels.names if name not in present)


OWN_IDS = Encoding(read_label_set("celebamask"), dict(enumerate(read_label_set("celebamask").names)))
"""CelebAMask-HQ's own ids."""


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
        return replace(_known(first.lower(), _pairs(others, labels), labels), text=text)
    if Path(text).suffix.lower() in FILES:
        return read_encoding(write_out(text), labels)
    if "=" in text:
        return Encoding(labels, _pairs([first, *others], labels), text=text)
    if not others:
        raise InputError(
            f"{OPTION} {text}: no known order; give one of {', '.join(SET_OF_ORDER)}, ids as "
            f"0={labels.names[0]},1={labels.names[1]},..., or a .toml or .json file"
        )
    return replace(_by_names([first, *others], labels), text=text)


def write_out(text: str) -> str:
    """An encoding in a file as ``0=background,1=skin,...``: what a config keeps. Others stay as they are.

    Raises InputError for a file that can't be read or holds no table of ids.
    """
    path = Path(text)
    if path.suffix.lower() not in FILES:
        return text
    ids = read_table(path, OPTION).get("ids")
    if not isinstance(ids, dict) or not ids:
        raise InputError(f'{OPTION} {path}: needs a table of ids: 0 = "background"')
    return ",".join(f"{index}={name}" for index, name in ids.items())


def known_order(text: str) -> tuple[LabelSet, dict[int, str]] | None:
    """The label set and the labels by id of the known order in an encoding, without the ids that it changes.

    None for an encoding of another kind.
    """
    first, *changes = (part.strip() for part in text.split(","))
    if first.lower() not in SET_OF_ORDER:
        return None
    source, ids = _known_ids(first.lower())
    changed = {change.partition("=")[0].strip() for change in changes}
    return source, {index: name for index, name in ids.items() if str(index) not in changed}


def by_main_roles(order: str, labels: LabelSet) -> str:
    """What reads a known order onto the labels of a set, even where one of its labels covers several of them.

    A large region goes by its first role then: the background of ``lapa``, which has no ears, is background.
    The facial parts of ``coarse`` would be wrong under any one label: they are ignored.
    """
    source, ids = _known_ids(order)
    changes = [
        f"{index}={found[0] if source.labels[source.ids[name]].roles[0] in BESIDE else IGNORE}"
        for index, name in ids.items()
        if len(set(found := _counterparts(source, name, labels))) > 1
    ]
    return ",".join([order, *changes])


def how_to_read(order: str, labels: LabelSet) -> str:
    """What to do with masks of a known order: the option that reads them, or the set to train with."""
    theirs, text = SET_OF_ORDER[order], by_main_roles(order, labels)
    if theirs == labels.name:
        return f"give {OPTION} {text}"
    # Of our commands only those that know no checkpoint take --labels; the way there is always a training.
    return f"train with --labels {theirs}, or read them as {labels.name} by {OPTION} {text}"


def _known_ids(order: str) -> tuple[LabelSet, dict[int, str]]:
    """The label set of a known order, and its labels by id."""
    source = read_label_set(SET_OF_ORDER[order])
    names = FACE_PARSING if order in ("face-parsing.pytorch", "zllrunning") else source.names
    return source, dict(enumerate(names))


def _known(order: str, changes: Mapping[int, str], labels: LabelSet) -> Encoding:
    """A known order, but for the ids in ``changes``."""
    source, ids = _known_ids(order)
    meaning: dict[int, str] = {}
    for index, name in ids.items():
        if index in changes:
            continue
        found = _counterparts(source, name, labels)
        if len(set(found)) > 1:
            several = ", ".join(sorted(set(found), key=labels.ids.__getitem__))
            raise InputError(
                f"{OPTION}: {name} of {source.name} may be {several} of label set {labels.name}; say which: "
                f"{OPTION} {by_main_roles(order, labels)}, or ignore for any of them"
            )
        meaning[index] = found[0] if found else IGNORE
    ignored = tuple(ids[index] for index, name in meaning.items() if name == IGNORE)
    return Encoding(labels, {**meaning, **changes}, ignored)


def _counterparts(source: LabelSet, name: str, labels: LabelSet) -> list[str]:
    """The labels of ``labels`` that have roles of ``name`` in ``source``, by these roles' order."""
    if source == labels:
        return [name]
    roles = source.labels[source.ids[name]].roles
    found = [labels.names[labels.by_role[role]] for role in roles if role in labels.by_role]
    return found or [name] * (name in labels.ids)


def _pairs(parts: list[str], labels: LabelSet) -> dict[int, str]:
    """``["0=background", "13=ignore"]`` as a mapping. Raises InputError."""
    found: dict[int, str] = {}
    for part in parts:
        index, equals, name = part.partition("=")
        if not equals:
            raise InputError(f"{OPTION}: {part!r} should be an id and a label: 13=hair")
        _add(found, index.strip(), name.strip(), labels)
    return found


def _add(found: dict[int, str], index: str, name: str, labels: LabelSet) -> None:
    if not index.isdecimal() or int(index) > 255:
        raise InputError(f"{OPTION}: {index!r} is no id: whole numbers from 0 to 255")
    if int(index) in found:
        raise InputError(f"{OPTION}: id {int(index)} comes twice")
    if not name:
        raise InputError(f"{OPTION}: id {int(index)} has no label: give one, or {IGNORE}")
    if name != IGNORE and name not in labels.ids:
        raise InputError(
            f"{OPTION}: id {int(index)} is {name!r}, which is no label of {labels.name} "
            f"({', '.join(labels.names)}); {IGNORE} leaves its pixels out"
        )
    found[int(index)] = name


def _by_names(names: list[str], labels: LabelSet) -> Encoding:
    twice = sorted({name for name in names if names.count(name) > 1 and name != IGNORE})
    if twice:
        raise InputError(f"{OPTION}: {', '.join(twice)} more than once; for that give ids: 0={names[0]},...")
    return Encoding(labels, _pairs([f"{index}={name}" for index, name in enumerate(names)], labels))
