"""What the masks of a whole split tell together: that they are no label maps, or in another order of ids."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lisa.data.color_sets import set_of_colors
from lisa.data.layouts import (
    ENOUGH_MASKS,
    MOST_VALUES,
    SIDES,
    Fit,
    Gathered,
    Layout,
    Order,
    fit,
    gather_layouts,
    share_named,
)
from lisa.labels import LabelSet, read_label_set
from lisa.labels.encoding import (
    FACE_PARSING,
    Encoding,
    by_main_roles,
    how_to_read,
    known_order,
    read_encoding,
)
from lisa.labels.roles import BESIDE

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


def _roles(labels: LabelSet, names: Sequence[str] = ()) -> tuple[str, ...]:
    return tuple(labels.labels[labels.ids[name]].roles[0] for name in names or labels.names)


KNOWN: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "celebamask-hq": _roles(read_label_set("celebamask")),
    "face-parsing.pytorch": _roles(read_label_set("celebamask"), FACE_PARSING),
    "lapa": _roles(read_label_set("lapa")),
    "face-synthetics": _roles(read_label_set("face-synthetics")),
})  # fmt: skip
"""Orders in circulation: roles by id."""
TITLES = {"lapa": "LaPa, Helen and iBugMask", "face-synthetics": "FaceSynthetics"}
"""How orders are called, where not by their names."""


def judged_order(encoding: Encoding) -> Order:
    """The roles that masks are judged by, by id: of labels that cover one part of a face, or a large region.

    A label of eyes, nose and mouth together lies nowhere in particular, nor does one of hair and clothing.
    Masks of a known order are judged by its own labels, which may tell more apart than the label set. Of
    several ids of a label the first counts.
    """
    labels, ids = known_order(encoding.text) or (encoding.labels, encoding.ids)
    roles: dict[int, str] = {}
    for index, name in ids.items():
        role = _judged_role(labels.labels[labels.ids[name]].roles) if name in labels.ids else ""
        if role and role not in roles.values():
            roles[index] = role
    return roles


def _judged_role(roles: Sequence[str]) -> str:
    """The one of a label's roles whose rules hold for all of it, in whatever order they stand; "" without."""
    if len(roles) == 1:
        return roles[0]
    return next((role for role in BESIDE if role in roles and {*roles} <= {role, *BESIDE[role]}), "")


class Verdict(NamedTuple):
    """Why no mask of a split can be used as it is."""

    kind: str
    """One of the doctor's kinds of finding."""
    detail: str
    """What was found and what to do."""


class Candidate(NamedTuple):
    """A way in which masks may have come from a known order."""

    name: str
    """One of KNOWN."""
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


def judge(
    layouts: Sequence[Layout], encoding: Encoding, ignored: bool, colored: Sequence[Layout] = ()
) -> Verdict | None:
    """What is wrong with all of a split's masks, or None. ``ignored``: some pixel of theirs is 255.

    ``colored``: those that were read by their colours, for which no encoding can be given.

    A set whose labels have no roles is judged by its values alone.
    """
    gathered = gather_layouts(layouts)
    values = gathered.values.tolist()
    if not layouts or len(values) > MOST_VALUES:
        return None  # each of them has a fault of its own
    if not values:
        return Verdict("empty", "every pixel is 255 (ignored): there is nothing to learn or to score")
    if len(values) < 2 or (len(values) == 2 < len(set(encoding.ids.values())) and _tells_parts(encoding)):
        return _few_values(values, encoding, ignored)
    theirs = set_of_colors(colored, encoding.labels)
    if theirs.misread:
        ours = encoding.labels.name
        return Verdict("colours", f"{theirs.note}; if {ours} is meant, save the ids as 8-bit grey")
    order = judged_order(encoding)
    given = fit(gathered, order)
    given = given._replace(named=share_named(gathered, encoding.ids))
    if given.rules < FEWEST_RULES or not _is_right(given) or given.upright < CERTAIN:
        verdict = _known_order(gathered, given, encoding) or _doubt(given, encoding)
        if verdict is not None:
            return verdict
    return _reversed_sides(given, encoding, len(gathered.parts), bool(colored))


def _tells_parts(encoding: Encoding) -> bool:
    """Whether masks of two values lack parts: not if the user named ids, or no label is a part of a face."""
    named = encoding.text and known_order(encoding.text) is None
    return not named and any(label.roles for label in encoding.labels.labels[1:])


def _few_values(values: list[int], encoding: Encoding, ignored: bool) -> Verdict:
    labels = encoding.labels
    shown = " and ".join(str(value) for value in [*values, *([255] if ignored else [])])
    if values == [0] and not ignored:
        return Verdict("empty", "every pixel is background (0): there is nothing to learn")
    meaning = ", and 255 is ignored" if ignored else ""
    skin = labels.names[labels.by_role.get("skin", 1) or 1]
    one = f"--data.encoding 0={labels.names[0]},1={skin}"
    remedies = {
        "0 and 1": one if encoding.ids.get(1) == skin else _ids_option(encoding.ids),
        "0 and 255": f"--data.encoding 0={labels.names[0]},255={skin}",
    }
    remedy = f"; if that is meant, say what they are: {remedies[shown]}" if shown in remedies else ""
    return Verdict(
        "binary",
        f"no value but {shown}: masks of a face or one part tell no parts apart{meaning}; give label maps "
        f"with ids 0 to {len(labels) - 1}{remedy}",
    )


def _is_right(found: Fit) -> bool:
    return found.upright >= RIGHT and found.worst >= KEPT and found.named >= NAMED


def _reversed_sides(given: Fit, encoding: Encoding, masks: int, by_color: bool) -> Verdict | None:
    """The order is right but for left and right in nearly all of the masks."""
    few = masks < 2 * ENOUGH_MASKS or given.pairs < ENOUGH_MASKS
    if few or given.upright < RIGHT or given.sides > REVERSED:
        return None
    labels = encoding.labels
    option = _ids_option({index: _mirrored(name, labels) for index, name in encoding.ids.items()})
    remedy = f"save the ids as 8-bit grey, and give {option}" if by_color else f"give {option}"
    # By name, for left may be the picture's in the set's own names, as in LaPa's.
    role = next((left for left, _ in SIDES if left in labels.by_role), "")
    told = f" (the person's {role.replace('_', ' ')} is {labels.names[labels.by_role[role]]})" if role else ""
    return Verdict("label-order", f"left and right are exchanged in nearly all masks{told}: {remedy}")


def _known_order(gathered: Gathered, given: Fit, encoding: Encoding) -> Verdict | None:
    """The one known order that fits clearly better than the given one and than all others."""
    fits = [(each, fit(gathered, each.order)) for each in _candidates(gathered.values)]
    right = [
        (each, found)
        for each, found in fits
        if found.rules >= FEWEST_RULES and _is_right(found) and each.order != judged_order(encoding)
    ]
    if not right:
        return None
    best, found = max(right, key=lambda item: item[1].upright)
    present = set(gathered.values.tolist())
    rivals = [each for each, _ in right if _seen(each.order, present) != _seen(best.order, present)]
    possible = given.named >= NAMED and given.worst >= BROKEN and given.upright > found.upright - MARGIN
    if rivals or possible:
        return None
    look = f"the masks look like the label order of {TITLES.get(best.name, best.name)}"
    exchanged = found.sides < 1 - found.sides
    if exchanged and len(gathered.parts) < SIDES_TOLD:
        unclear = "too few masks tell left from right: compare one with its picture, and"
        advice = _advice(best, encoding.labels, exchanged=False)
        hint = f"{look}, but {unclear} {advice}, or that with left and right exchanged"
    elif dict(enumerate(best.roles)) == judged_order(encoding) and not exchanged:
        hint = ""
    else:
        hint = f"{look}: {_advice(best, encoding.labels, exchanged)}"
    return Verdict(best.kind, "; ".join(part for part in (best.cause, hint) if part))


def _seen(order: Order, present: set[int]) -> dict[int, str]:
    return {value: role for value, role in order.items() if value in present}


def _advice(candidate: Candidate, labels: LabelSet, exchanged: bool) -> str:
    """What to do with masks of this order, in which left and right may be exchanged."""
    if exchanged:
        ids = read_encoding(by_main_roles(candidate.name, labels), labels).ids
        return f"give {_ids_option({index: _mirrored(name, labels) for index, name in ids.items()})}"
    return how_to_read(candidate.name, labels)


def _mirrored(name: str, labels: LabelSet) -> str:
    """The label on the other side; the same for one in the middle, and for "ignore"."""
    return labels.names[labels.flipped_ids[labels.ids[name]]] if name in labels.ids else name


def _ids_option(ids: Mapping[int, str]) -> str:
    """The option that reads these ids."""
    in_order = sorted(ids)
    if in_order == list(range(len(ids))) and len(set(ids.values())) == len(ids):
        return f"--data.encoding {','.join(ids[index] for index in in_order)}"
    return f"--data.encoding {','.join(f'{index}={ids[index]}' for index in in_order)}"


def _candidates(values: NDArray[np.int64]) -> Iterator[Candidate]:
    """Known orders as they are, with ids one too high or low, and multiplied."""
    top = int(values.max())
    for name, roles in KNOWN.items():
        ids = range(len(roles))
        yield Candidate(name, roles, {index: index for index in ids}, "label-order", "")
        yield Candidate(
            name, roles, {index + 1: index for index in ids}, "shifted",
            f"ids are one too high ({values[values > 0].min()} to {top}, background is 1): subtract 1 from "
            f"each mask and keep 255 as it is",
        )  # fmt: skip
        yield Candidate(
            name, roles, {index - 1: index for index in ids if index}, "shifted",
            f"ids are one too low (0 to {top}, skin is 0): add 1 to each mask and keep 255 as it is",
        )  # fmt: skip
    for factor, stored in _scales(values):
        seen = ", ".join(map(str, values[:4]))
        cause = f"ids are multiplied by {factor:.4g} ({seen}, ...): divide each mask by it and round"
        for name, roles in KNOWN.items():
            yield Candidate(name, roles, stored, "scaled", cause)


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


def _doubt(given: Fit, encoding: Encoding) -> Verdict | None:
    """The given order is wrong, and no known one is right."""
    if given.rules < FEWEST_RULES or (given.turned >= WRONG and given.worst >= BROKEN):
        return None
    seen = f"only {given.turned:.0%} of what holds for faces holds in them"
    if given.worst < BROKEN:
        first, relation, second = given.worst_rule
        named = {role: index for index, role in judged_order(encoding).items()}
        ids = {role: f"{encoding.ids.get(named[role], role)} (id {named[role]})" for role in (first, second)}
        seen = f"{ids[first]} is {relation} {ids[second]} in only {given.worst:.0%} of them"
    return Verdict(
        "label-order",
        f"the masks are in another label order: {seen}; say which id is which label with --data.encoding",
    )
