"""Labels by name, for --parts and --cutout: one of the model's, a part of a face, or a union of both."""

from typing import Any

from .errors import CannotStartError

GROUPS = {
    "eyes": ("left_eye", "right_eye"),
    "brows": ("left_brow", "right_brow"),
    "ears": ("left_ear", "right_ear"),
    "lips": ("upper_lip", "lower_lip"),
}
"""Names for several roles."""


def label_ids(option: str, name: str, metadata: dict[str, Any]) -> list[int]:
    """Ids of what ``name`` means: a label, a role that labels of its own have, or a group of them.

    Raises CannotStartError, which names the option, for a name that means nothing to the model.
    """
    labels: list[str] = metadata["labels"]
    if name in labels:
        return [labels.index(name)]
    found = _owners(GROUPS.get(name, (name,)), metadata)
    if not found:
        known = [group for group, parts in GROUPS.items() if _owners(parts, metadata)]
        raise CannotStartError(f"{option} {name}: one of {', '.join([*labels, *known])}, or a union of them")
    return found


def _owners(roles: tuple[str, ...], metadata: dict[str, Any]) -> list[int]:
    """Ids of labels that have some of these roles and no others."""
    owners = metadata.get("label_set", {}).get("labels", [])
    return [index for index, label in enumerate(owners) if label["roles"] and {*roles} >= {*label["roles"]}]


def _names(option: str, text: str) -> list[str]:
    """What stands between commas, without the blanks around it. Raises CannotStartError for commas alone."""
    names = [name for name in map(str.strip, text.split(",")) if name]
    if text and not names:
        raise CannotStartError(f"{option} {text!r}: names nothing")
    return names


def read_parts(text: str, metadata: dict[str, Any]) -> dict[str, list[int]]:
    """--parts: names, or unions as face=skin+nose+eyes, with commas between. Raises CannotStartError."""
    found: dict[str, list[int]] = {}
    for part in _names("--parts", text):
        name, equals, members = map(str.strip, part.partition("="))
        if equals and (not name or set(name) & set("/\\.+") or not members):
            raise CannotStartError(f"--parts {part}: a union is written as face=skin+nose+eyes")
        if name in found:
            raise CannotStartError(f"--parts: {name} comes twice")
        if also := [each for each in found if each.casefold() == name.casefold()]:
            raise CannotStartError(
                f"--parts: {also[0]} and {name} are one folder where names ignore case: give another name, "
                f"as {name}2={members or name}"
            )
        each = [*map(str.strip, members.split("+"))] if equals else [name]
        found[name] = sorted({index for member in each for index in label_ids("--parts", member, metadata)})
    return found


def read_cutout(text: str, metadata: dict[str, Any]) -> list[int]:
    """--cutout: names with commas between. Raises CannotStartError."""
    names = _names("--cutout", text)
    return sorted({index for name in names for index in label_ids("--cutout", name, metadata)})
