"""Reads a config from plain values: what JSON and checkpoints hold."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

from lisa.config.limits import require
from lisa.errors import InputError
from lisa.labels import LabelSet, read_label_set, stored_label_set
from lisa.labels.reading import without_repeats

FORMER = {"data.label_order": "encoding"}
"""Fields that had another name: configs and checkpoints of then are still read."""

GONE: dict[str, float | str | None] = {
    "augment.border": "ignore",
    "augment.crop": 0.0,
    "augment.erase": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "model.auxiliary": False,
    "loss.auxiliary": None,
    "loss.focal": 0.0,
    "loss.focal_gamma": None,
    "loss.label_smoothing": 0.0,
    "loss.class_balance": 0.0,
}
"""Maps each removed option to the value that switched it off; None: it only tuned another option.

Configs that have them at this value are read as ever, and so are all checkpoints. docs/results.md has the
figures."""


def from_plain(cls: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    """A dataclass from nested plain values, as ``dataclasses.asdict`` gives and JSON keeps them.

    Missing fields keep their defaults. Raises InputError, with the field's dotted name, for an unknown field,
    for a value of another type, and for an option that is gone where it was switched on.
    """
    types = get_type_hints(cls)
    hints = {each.name: types[each.name] for each in dataclasses.fields(cls)}
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        key = FORMER.get(f"{prefix}{key}", key)
        name = f"{prefix}{key}"
        if name in GONE:
            gone = "this option is gone (docs/results.md): leave it out"
            require(off_and_gone(name, value), name, value, gone)
            continue
        if key not in hints:
            raise InputError(f"{name} is no field of the config (known here: {', '.join(hints)})")
        if hints[key] is LabelSet:
            arguments[key] = _labels(value)
        elif dataclasses.is_dataclass(hints[key]):
            require(isinstance(value, Mapping), name, value, "must be an object")
            arguments[key] = from_plain(hints[key], value, f"{name}.")  # pyright: ignore[reportArgumentType]
        else:
            arguments[key] = _converted(hints[key], value)
    return cls(**arguments)


def parse_object(text: str) -> dict[str, Any]:
    """The JSON object in a config's text. Raises InputError for other text, and where a name comes twice."""
    try:
        values = json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(f"config is not JSON: {error}") from None
    except InputError as error:
        raise InputError(f"config: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"config must be a JSON object, not {type(values).__name__}")
    return values


def without_gone(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint's config without removed options, and those of them that were on, by dotted name.

    What they did is in the weights: such a network is evaluated and exported as any other.
    """
    kept, on = dict[str, Any](), dict[str, Any]()
    for section, fields in config.items():
        if not isinstance(fields, Mapping):
            kept[section] = fields
            continue
        kept[section] = {key: value for key, value in fields.items() if f"{section}.{key}" not in GONE}
        gone = {f"{section}.{key}": value for key, value in fields.items() if key not in kept[section]}
        on |= {name: value for name, value in gone.items() if not off_and_gone(name, value)}
    terms = ("cross_entropy", "dice", "lovasz")
    if "loss.focal" in on and not any(kept["loss"].get(term, True) for term in terms):
        kept["loss"] = {}  # it was the only term, and a config must have one
    return kept, on


def off_and_gone(name: str, value: Any) -> bool:
    """Whether the field is gone and did nothing at this value."""
    return name in GONE and GONE[name] in (None, value)


def _labels(value: Any) -> LabelSet:
    require(isinstance(value, str | Mapping), "labels", value, "a built-in set's name, or a label set")
    return read_label_set(value) if isinstance(value, str) else stored_label_set(value, "labels")


def _converted(kind: Any, value: Any) -> Any:
    """JSON's value as the field's type has it, if it can be: the dataclass refuses others."""
    if kind is float and type(value) is int:
        return float(value)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(value)
    return value
