"""A label set: which classes a network tells apart, and what the rest of the system may ask about them.

A set is a small TOML or JSON file. The order of its labels is the order of their ids, and the first label is
the background, id 0::

    name = "eyes"
    pairs = [["left_eye", "right_eye"]]

    [labels]
    background = { color = [0, 0, 0], roles = ["background", "skin", "hair"] }
    left_eye = { color = [51, 51, 255], roles = ["left_eye"] }
    right_eye = { color = [204, 0, 204], roles = ["right_eye"] }

Left and right are the *person's* in roles, whatever a data set's own names mean.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa.errors import InputError
from lisa.labels.roles import ROLES
from lisa.labels.sides import mirrored, opposite, plain_name

IGNORE_INDEX = 255
"""Mask value of pixels that neither train nor count."""

IGNORE = "ignore"
"""What an encoding calls IGNORE_INDEX; no label may have this name."""

MOST_LABELS = 64

_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)


@dataclass(frozen=True)
class Label:
    """One class: its name, its colour (R, G, B) and the roles that it covers."""

    name: str
    color: tuple[int, int, int]
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelSet:
    """The classes of a network. A label's id is its index in ``labels``; id 0 is the background.

    ``pairs`` name the labels that change places when a picture is mirrored.

    Raises:
        InputError: fewer than 2 or more than 64 labels; a name, colour or role that comes twice; a colour
            outside 0 to 255; a role that nobody knows; a background that is not the first label; a pair that
            names no label, or one label twice.
    """

    name: str
    labels: tuple[Label, ...]
    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        where = f"label set {self.name}"
        if not 2 <= len(self.labels) <= MOST_LABELS:
            raise InputError(f"{where}: {len(self.labels)} label(s), a set has 2 to {MOST_LABELS}")
        for label in self.labels:
            if not _NAME.fullmatch(label.name) or label.name == IGNORE:
                raise InputError(
                    f"{where}: {label.name!r} can't be a label's name: ASCII letters, digits, _ and -, a "
                    f"letter first, and not {IGNORE!r}"
                )
            if len(label.color) != 3 or not all(0 <= value <= 255 for value in label.color):
                raise InputError(f"{where}: {label.name} has colour {list(label.color)}: three of 0 to 255")
            unknown = [role for role in label.roles if role not in ROLES]
            if unknown:
                raise InputError(f"{where}: {label.name} has role {unknown[0]!r}: one of {', '.join(ROLES)}")
        self._require_one_each(where, "name", [(label.name, label.name) for label in self.labels])
        self._require_one_each(where, "colour", [(label.color, label.name) for label in self.labels])
        self._require_one_each(
            where, "role", [(role, label.name) for label in self.labels for role in label.roles]
        )
        if self.by_role.get("background", 0) != 0:
            owner = self.names[self.by_role["background"]]
            raise InputError(f"{where}: {owner} has the role background: put it first, its id is 0")
        in_pairs = [name for pair in self.pairs for name in pair]
        for name in in_pairs:
            if name not in self.names:
                raise InputError(f"{where}: a pair names {name!r}, which is no label of it")
            if in_pairs.count(name) > 1:
                raise InputError(f"{where}: {name} is in the pairs twice")

    @staticmethod
    def _require_one_each(where: str, what: str, owned: list[tuple[Any, str]]) -> None:
        owners: dict[Any, str] = {}
        for value, owner in owned:
            if value in owners:
                raise InputError(f"{where}: {owners[value]} and {owner} have one {what}: {value}")
            owners[value] = owner

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names by id."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Ids by name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def palette(self) -> tuple[int, ...]:
        """Flat R, G, B, R, G, B, ... for ``PIL.Image.putpalette``."""
        return tuple(channel for label in self.labels for channel in label.color)

    @cached_property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Ids that change places when a picture is mirrored."""
        return tuple((self.ids[left], self.ids[right]) for left, right in self.pairs)

    @cached_property
    def flipped_ids(self) -> tuple[int, ...]:
        """``flipped_ids[id]`` is the id of the same part in the mirrored picture."""
        flipped = list(range(len(self)))
        for left, right in self.flip_pairs:
            flipped[left], flipped[right] = right, left
        return tuple(flipped)

    @cached_property
    def one_sided(self) -> tuple[str, ...]:
        """Labels of the left or the right, by roles or else by name, that change places with none."""
        in_pairs = {name for pair in self.pairs for name in pair}
        meanings = {label.name: label.roles or (plain_name(label.name),) for label in self.labels}
        return tuple(
            name
            for name, roles in meanings.items()
            if name not in in_pairs
            and all(opposite(role) != role and opposite(role) not in roles for role in roles)
        )

    def require_both_sides(self, remedy: str) -> None:
        """Raises InputError, which ends with the remedy, if a mirrored picture can't be labelled."""
        if self.one_sided:
            raise InputError(
                f"label set {self.name}: {', '.join(self.one_sided)}: no label for the other side, which a "
                f"mirrored picture would show under this name: {remedy}"
            )

    @cached_property
    def unpaired(self) -> tuple[tuple[str, str], ...]:
        """Labels that are left and right of one another, by all of their roles or else by name, and no pair.

        The left eye is no pair with a skin that has the right one among its roles.
        """
        by_roles = {frozenset(map(opposite, label.roles)): label.name for label in self.labels if label.roles}
        by_plain_name = {plain_name(name): name for name in self.names}
        found: list[tuple[str, str]] = []
        for label, flipped in zip(self.labels, self.flipped_ids, strict=True):
            name, plain, partner = label.name, plain_name(label.name), self.names[flipped]
            other = by_roles.get(frozenset(label.roles))
            if other is None and mirrored(plain) != plain and partner == name:
                other = by_plain_name.get(mirrored(plain))
            if other is not None and other not in (name, partner) and (other, name) not in found:
                found.append((name, other))
        return tuple(found)

    def flip_table(self) -> NDArray[np.uint8]:
        """``flipped_ids`` for every value of a mask, uint8 (256,): others stay what they are."""
        return np.array((*self.flipped_ids, *range(len(self), 256)), np.uint8)

    @cached_property
    def by_role(self) -> dict[str, int]:
        """Ids by role; a role that no label covers is absent."""
        return {role: index for index, label in enumerate(self.labels) for role in label.roles}

    def alone(self, role: str) -> int | None:
        """The id of the label that covers this role and nothing else; None without one."""
        index = self.by_role.get(role)
        return index if index is not None and self.labels[index].roles == (role,) else None

    def told_from(self, other: "LabelSet") -> str:
        """What a message calls this set beside another one, which may have the same name."""
        return f"another set {self.name!r}" if self.name == other.name else f"label set {self.name}"

    def __len__(self) -> int:
        return len(self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON holds them and :meth:`from_dict` reads them.

        The labels are a list: their order is their ids, and not every writer of JSON keeps an object's.
        """
        return {
            "name": self.name,
            "pairs": [list(pair) for pair in self.pairs],
            "labels": [
                {"name": label.name, "color": list(label.color), "roles": list(label.roles)}
                for label in self.labels
            ],
        }

    def paired(self) -> "LabelSet":
        """With the unpaired sides as pairs, but for labels that are in another one."""
        pairs = list(self.pairs)
        for pair in self.unpaired:
            if not {*pair} & {name for each in pairs for name in each}:
                pairs.append(pair)
        return replace(self, pairs=tuple(pairs))

    @staticmethod
    def from_dict(values: Mapping[str, Any], where: str) -> "LabelSet":
        """The inverse of to_dict; ``where`` names the file in messages. Raises InputError."""
        unknown = sorted(set(values) - {"name", "pairs", "labels"})
        if unknown:
            raise InputError(f"{where}: {unknown[0]!r} is no field of a label set: name, pairs, labels")
        name, entries = values.get("name"), values.get("labels")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InputError(
                f"{where}: a label set needs a name: ASCII letters, digits, _ and -, a letter first"
            )
        labels = tuple(_label(each, entry, where) for each, entry in _entries(entries, where))
        pairs = values.get("pairs", [])
        if not isinstance(pairs, list) or not all(_is_list_of(pair, str, 2) for pair in pairs):
            raise InputError(f"{where}: pairs is a list of two names each")
        return LabelSet(name, labels, tuple((left, right) for left, right in pairs))

    def to_toml(self) -> str:
        """The set as a TOML file, one label a line."""
        lines = [f"name = {json.dumps(self.name)}"]
        lines.append(f"pairs = {json.dumps([list(pair) for pair in self.pairs])}")
        lines += ["", "[labels]"]
        for label in self.labels:
            color, roles = json.dumps(list(label.color)), json.dumps(list(label.roles))
            lines.append(f"{label.name} = {{ color = {color}, roles = {roles} }}")
        return "\n".join(lines) + "\n"


def _entries(entries: Any, where: str) -> list[tuple[str, Any]]:
    """Names and entries of the labels: an object by name, as files have it, or a list with names inside."""
    if isinstance(entries, list) and all(isinstance(entry, Mapping) for entry in entries):
        nameless = [index for index, entry in enumerate(entries) if not isinstance(entry.get("name"), str)]
        if nameless:
            raise InputError(f"{where}: entry {nameless[0]} of labels needs a name")
        entries = [(entry["name"], {k: v for k, v in entry.items() if k != "name"}) for entry in entries]
    elif isinstance(entries, Mapping):
        entries = list(entries.items())
    else:
        entries = []
    if not entries:
        raise InputError(f"{where}: a label set needs [labels]: a colour and roles for each name")
    return entries


def _label(name: str, entry: Any, where: str) -> Label:
    if not isinstance(entry, Mapping) or not _is_list_of(entry.get("color"), int, 3):
        raise InputError(f"{where}: {name} needs color = [R, G, B], each 0 to 255")
    unknown = sorted(set(entry) - {"color", "roles"})
    if unknown:
        raise InputError(f"{where}: {name}: {unknown[0]!r} is no field of a label: color, roles")
    roles = entry.get("roles", [])
    if not _is_list_of(roles, str, None):
        raise InputError(f"{where}: {name}: roles is a list of names")
    red, green, blue = entry["color"]
    return Label(name, (red, green, blue), tuple(roles))


def _is_list_of(value: Any, kind: type, length: int | None) -> bool:
    return (
        isinstance(value, list)
        and (length is None or len(value) == length)
        and all(type(item) is kind for item in value)
    )
