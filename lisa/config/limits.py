"""Limits of numbers, written once beside the field.

They are checked when the dataclass is made, shown by --help, and read by the search's space.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, get_type_hints

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

    def __contains__(self, value: float | str) -> bool:
        """False for NaN, for infinity and for words."""
        if isinstance(value, str):
            return False
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
    flags of a command: ``--trials 0: ...``.
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
