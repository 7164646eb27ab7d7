"""Types and limits of values, written once beside the field.

They are checked when the dataclass is made; --help shows the limits, and the search's space reads them.
"""

import dataclasses
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import tyro

from lisa.errors import InputError


@dataclass(frozen=True)
class Range:
    """The finite values that a number may have: ``Annotated[float, Range(0, 180, "degrees")]``."""

    low: float
    high: float = math.inf
    unit: str = ""
    open_low: bool = False
    """Whether ``low`` itself is too low."""
    open_high: bool = False
    """Whether ``high`` itself is too high."""

    def __contains__(self, value: float) -> bool:
        """False for NaN and for infinity."""
        above = self.low < value if self.open_low else self.low <= value
        below = value < self.high if self.open_high or math.isinf(self.high) else value <= self.high
        return above and below

    def __str__(self) -> str:
        """The rule in words, for messages and --help."""
        low = f"above {self.low}" if self.open_low else f"{self.low}"
        if self.high < math.inf:
            rule = f"{low} to {'below ' if self.open_high else ''}{self.high}"
        else:
            rule = low if self.open_low else f"at least {low}"
        return f"{rule} {self.unit}".rstrip()


class Limited:
    """Base of dataclasses whose fields may have a :class:`Range`.

    ``section`` stands before a field's name in messages: ``optim.lr = 0: ...``. Without one the fields are
    flags of a command, whose types tyro has checked: ``--trials 0: ...``.
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls, section: str = "") -> None:
        super().__init_subclass__()
        cls.section = section
        for name, hint in inspect.get_annotations(cls).items():
            limit = _range(hint)
            if limit is not None:
                shown = tyro.conf.arg(help_behavior_hint=_Hint(limit))
                cls.__annotations__[name] = Annotated[hint, shown]

    def __post_init__(self) -> None:
        if self.section:
            require_types(self, f"{self.section}.")
        for name, limit in ranges(type(self)).items():
            value = getattr(self, name)
            if value is None:
                continue
            several = isinstance(value, tuple)
            if not all(item in limit for item in (value if several else (value,))):
                field = f"{self.section}.{name} =" if self.section else f"--{name.replace('_', '-')}"
                raise InputError(f"{field} {value!r}: {limit}{' each' if several else ''}")


@cache
def ranges(kind: type[Limited]) -> Mapping[str, Range]:
    """The limits of a dataclass, by field."""
    hints = get_type_hints(kind, include_extras=True)
    limits = {name: _range(hint) for name, hint in hints.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def require_types(config: object, prefix: str = "") -> None:
    """Raises InputError for a field of another type, with which a run's own files could not be read again.

    Whole numbers pass as floats, numpy's do not: checkpoints are read weights-only.
    """
    for name, kind in _types(type(config)).items():
        value = getattr(config, name)
        if get_origin(kind) is Literal:
            fits, rule = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
        elif get_origin(kind) is tuple:
            count = len(get_args(kind))
            fits = isinstance(value, tuple) and [type(item) for item in value] == [int] * count
            rule = f"a tuple of {count} ints"
        else:
            fits = type(value) is kind or (kind is float and type(value) is int)
            rule = f"must be of type {kind.__name__}"
        require(fits, f"{prefix}{name}", value, rule)


@cache
def _types(kind: type[Any]) -> Mapping[str, Any]:
    """The types of a dataclass's fields, without what is annotated."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _range(hint: Any) -> Range | None:
    return next((item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Range)), None)


@dataclass(frozen=True)
class _Hint:
    """What --help says behind a field's description."""

    limit: Range

    def __call__(self, default: str) -> str:
        return f"({self.limit}; default: {default})"


def require(condition: bool, name: str, value: object, rule: str) -> None:
    """Raises InputError with the field's dotted name, its value and the rule, if the condition is false."""
    if not condition:
        raise InputError(f"{name} = {value!r}: {rule}")


def require_batch(batch_size: int, processes: int) -> None:
    """Raises InputError where a process would have no picture of a batch."""
    rule = f"at least one picture for each of {processes} processes: raise it, or use fewer (NPROC)"
    require(batch_size >= processes, "train.batch_size", batch_size, rule)
