"""Masks that were read by colour, in the colours of another label set."""

from collections.abc import Sequence
from typing import NamedTuple

from lisa.data.layouts import ENOUGH_MASKS, Layout
from lisa.labels import BUILT_IN, LabelSet, read_label_set
from lisa.labels.roles import BESIDE


class OtherSet(NamedTuple):
    """Another built-in set whose colours masks have."""

    note: str = ""
    """What the user should know; empty without such a set."""
    misread: bool = False
    """A shared colour tells another part there."""


def set_of_colors(colored: Sequence[Layout], labels: LabelSet) -> OtherSet:
    """Another built-in set that has the colours of these masks, and but for one no others.

    Sets share colours: all of coarse's are celebamask's too, and its facial parts are the mouth there.
    """
    if labels.name not in BUILT_IN or len(colored) < ENOUGH_MASKS:
        return OtherSet()
    ids = {index for layout in colored for index in layout.values.tolist()}
    ours = {labels.labels[index].color: labels.labels[index] for index in ids}
    for name in BUILT_IN:
        theirs = {label.color: label for label in read_label_set(name).labels}
        if name == labels.name or not ours.keys() <= theirs.keys() or len(theirs.keys() - ours.keys()) > 1:
            continue
        absent = ", ".join(other for index, other in enumerate(labels.names) if index not in ids)
        return OtherSet(
            f"their colours are those of label set {name}, and {absent} of {labels.name} never come: train "
            f"with --labels {name}",
            any(not _covers(label.roles, theirs[color].roles) for color, label in ours.items()),
        )
    return OtherSet()


def _covers(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether a label may stand for another one's parts: they are its own, or lie beside it."""
    return {*theirs} <= {*ours, *(beside for role in ours for beside in BESIDE.get(role, ()))}
