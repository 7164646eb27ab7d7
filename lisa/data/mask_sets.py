"""What the masks of a whole split tell together: that they are no label maps, or in another order of ids."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lisa.data.layouts import ENOUGH_MASKS, MOST_VALUES, Fit, Gathered, Layout, Order, fit, gather_layouts
from lisa.label_orders import ORDERS, label_names
from lisa.labels import FLIP_PAIRS, LABELS, NAMES, read_label_set

RIGHT, WRONG, KEPT, BROKEN = 0.93, 0.9, 0.7, 0.5
"""An order is right if masks keep RIGHT of the rules upright and KEPT of them each single rule. It is wrong
if they keep less than WRONG however they are turned, or BROKEN of them some rule. Measured: docs/data.md."""
CERTAIN, MARGIN = 0.97, 0.05
"""Share of the rules from which no other order is tried, and by which another one must fit better."""
FEWEST_RULES = 6
"""Masks to which fewer rules apply have too few parts for a judgement."""
MOST_IDS = 20
"""No known order has more ids."""
NAMED = 0.9999
"""Share of the pixels to whose ids an order must give a name."""
SIDES_TOLD = 5
"""Masks from which left and right are told from the masks; of single faces 7 % are labelled the wrong way."""
REVERSED = 0.2

_ROLE = {label.name: label.roles[0] for label in LABELS}
_NAME = {role: name for name, role in _ROLE.items()}
_OTHER_SIDE = {_ROLE[NAMES[a]]: _ROLE[NAMES[b]] for pair in FLIP_PAIRS for a, b in (pair, pair[::-1])}


def _roles(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(_ROLE[name] for name in names)


KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType({
    **{order: _roles(names) for order, names in ORDERS.items()},
    **{
        title: tuple(label.roles[0] for label in read_label_set(name).labels)
        for title, name in (("LaPa, Helen and iBugMask", "lapa"), ("FaceSynthetics", "face-synthetics"))
    },
})  # fmt: skip
"""Orders in circulation: roles by id."""


class Verdict(NamedTuple):
    """Why no mask of a split can be used as it is."""

    kind: str
    """One of the doctor's kinds of finding."""
    detail: str
    """What was found and what to do."""


class Candidate(NamedTuple):
    """A way in which masks may have come from a known order."""

    title: str
    roles: tuple[str, ...]
    """By id in the known order."""
    stored: Mapping[int, int]
    """Value in the files to id in the known order."""
    kind: str
    cause: str
    """What was done to the ids and how to undo it; empty if nothing was."""

    @property
    def order(self) -> Order:
        """Value in the files to role."""
        return {value: self.roles[index] for value, index in self.stored.items() if index < len(self.roles)}


def judge(layouts: Sequence[Layout], label_order: str, ignored: bool) -> Verdict | None:
    """What is wrong with all of a split's masks, or None. ``ignored``: some pixel of theirs is 255."""
    names = label_names(label_order)
    gathered = gather_layouts(layouts)
    values = gathered.values.tolist()
    if not layouts or len(values) > MOST_VALUES:
        return None  # each of them has a fault of its own
    if not values:
        return Verdict("empty", "every pixel is 255 (ignored): there is nothing to learn or to score")
    if len(values) < 2 or len(values) == 2 < len(names):
        return _few_values(values, ignored)
    given = fit(gathered, {index: _ROLE[name] for index, name in enumerate(names)})
    if given.rules < FEWEST_RULES or not _is_right(given) or given.upright < CERTAIN:
        verdict = _known_order(gathered, given, names) or _doubt(given, names)
        if verdict is not None:
            return verdict
    return _reversed_sides(given, names, len(gathered.parts))


def _few_values(values: list[int], ignored: bool) -> Verdict:
    shown = " and ".join(str(value) for value in [*values, *([255] if ignored else [])])
    if values == [0] and not ignored:
        return Verdict("empty", "every pixel is background (0): there is nothing to learn")
    meaning = ", and 255 is ignored" if ignored else ""
    remedy = (
        "; if that is meant, say what they are: --data.label-order background,skin"
        if values == [0, 1]
        else ""
    )
    return Verdict(
        "binary",
        f"no value but {shown}: masks of a face or one part tell no parts apart{meaning}; give label maps "
        f"with ids 0 to {len(NAMES) - 1}{remedy}",
    )


def _is_right(found: Fit) -> bool:
    return found.upright >= RIGHT and found.worst >= KEPT and found.named >= NAMED


def _reversed_sides(given: Fit, names: Sequence[str], masks: int) -> Verdict | None:
    """The order is right but for left and right in nearly all of the masks."""
    few = masks < 2 * ENOUGH_MASKS or given.pairs < ENOUGH_MASKS
    if few or given.upright < RIGHT or given.sides > REVERSED:
        return None
    option = _option(tuple(_OTHER_SIDE.get(role, role) for role in _roles(names)))
    return Verdict(
        "label-order",
        f"left and right are exchanged in nearly all masks (here l_ is the person's left): give {option}",
    )


def _known_order(gathered: Gathered, given: Fit, names: Sequence[str]) -> Verdict | None:
    """The one known order that fits clearly better than the given one and than all others."""
    fits = [(each, fit(gathered, each.order)) for each in _candidates(gathered.values)]
    right = [
        (each, found)
        for each, found in fits
        if found.rules >= FEWEST_RULES and _is_right(found) and each.order != dict(enumerate(_roles(names)))
    ]
    if not right:
        return None
    best, found = max(right, key=lambda item: item[1].upright)
    present = set(gathered.values.tolist())
    rivals = [each for each, _ in right if _seen(each.order, present) != _seen(best.order, present)]
    possible = given.named >= NAMED and given.worst >= BROKEN and given.upright > found.upright - MARGIN
    if rivals or possible:
        return None
    look = f"the masks look like the label order of {best.title}"
    roles = best.roles
    if found.sides < 1 - found.sides:
        if len(gathered.parts) < SIDES_TOLD:
            unclear = "too few masks tell left from right: compare one with its picture, and"
            return Verdict(
                best.kind, f"{look}, but {unclear} give {_option(roles)} or that with l_ and r_ exchanged"
            )
        roles = tuple(_OTHER_SIDE.get(role, role) for role in roles)
    hint = "" if roles == _roles(names) else f"{look}: give {_option(roles)}"
    return Verdict(best.kind, "; ".join(part for part in (best.cause, hint) if part))


def _seen(order: Order, present: set[int]) -> dict[int, str]:
    return {value: role for value, role in order.items() if value in present}


def _option(roles: Sequence[str]) -> str:
    """The option that reads ids of these roles, if one can."""
    try:
        names = tuple(_NAME[role] for role in roles)
    except KeyError as error:
        return f"them new ids, as --data.label-order has no name for {error.args[0]}"
    known = [order for order, each in ORDERS.items() if each == names]
    return f"--data.label-order {known[0] if known else ','.join(names)}"


def _candidates(values: NDArray[np.int64]) -> Iterator[Candidate]:
    """Known orders as they are, with ids one too high or low, and multiplied."""
    top = int(values.max())
    for title, roles in KNOWN.items():
        ids = range(len(roles))
        yield Candidate(title, roles, {index: index for index in ids}, "label-order", "")
        yield Candidate(
            title, roles, {index + 1: index for index in ids}, "shifted",
            f"ids are one too high ({values[values > 0].min()} to {top}, background is 1): subtract 1 from "
            f"each mask",
        )  # fmt: skip
        yield Candidate(
            title, roles, {index - 1: index for index in ids if index}, "shifted",
            f"ids are one too low (0 to {top}, skin is 0): add 1 to each mask and keep 255 as it is",
        )  # fmt: skip
    for factor, stored in _scales(values):
        seen = ", ".join(map(str, values[:4]))
        cause = f"ids are multiplied by {factor:.4g} ({seen}, ...): divide each mask by it and round"
        for title, roles in KNOWN.items():
            yield Candidate(title, roles, stored, "scaled", cause)


def _scales(values: NDArray[np.int64]) -> Iterator[tuple[float, dict[int, int]]]:
    """Factors by which ids may have been multiplied, and the id of each value.

    To be visible, ids are multiplied by 10 or 13, stretched so that the highest becomes 255, or by 257 to 16
    bits.
    """
    top = int(values.max())
    if top <= MOST_IDS:
        return
    common = int(np.gcd.reduce(values))
    factors: list[float] = [factor for factor in range(2, common + 1) if common % factor == 0]
    for factor in [*factors, *(255 / highest for highest in range(9, MOST_IDS))]:
        ids = np.round(values / factor)
        if (
            ids.max() <= MOST_IDS
            and len(set(ids.tolist())) == len(ids)
            and (abs(values - ids * factor) < 1).all()
        ):
            yield factor, dict(zip(values.tolist(), ids.astype(int).tolist(), strict=True))


def _doubt(given: Fit, names: Sequence[str]) -> Verdict | None:
    """The given order is wrong, and no known one is right."""
    if given.rules < FEWEST_RULES or (given.turned >= WRONG and given.worst >= BROKEN):
        return None
    seen = f"only {given.turned:.0%} of what holds for faces holds in them"
    if given.worst < BROKEN:
        first, relation, second = given.worst_rule
        ids = {role: f"{_NAME[role]} (id {names.index(_NAME[role])})" for role in (first, second)}
        seen = f"{ids[first]} is {relation} {ids[second]} in only {given.worst:.0%} of them"
    return Verdict(
        "label-order",
        f"the masks are in another label order: {seen}; name their ids from 0 on with --data.label-order",
    )
