"""How the parts of a face lie to each other, and which known order of ids this makes of masks.

Brows are above eyes, lips below the nose, skin is larger than any of them. Real masks keep 99 % of these
rules under their true order; under a wrong one, most masks break one of them (docs/data.md).
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lisa.labels import IGNORE_INDEX

Order = Mapping[int, str]
"""Id in a mask to role: see lisa.labels.roles.ROLES."""

Votes = NDArray[np.int8]

GRID = 96
"""Positions are taken from every n-th pixel, so that about so many remain on a side."""
MOST_VALUES = 64
"""Masks of a set with more different values are no label maps."""

ENOUGH_MASKS = 10
"""Masks from which a rule that nearly none of them keeps is no matter of one odd face."""

_EYES, _BROWS = ("left_eye", "right_eye"), ("left_brow", "right_brow")
_LIPS = ("upper_lip", "mouth", "lower_lip")
ABOVE: tuple[tuple[str, str], ...] = (
    ("left_brow", "left_eye"), ("right_brow", "right_eye"), ("upper_lip", "lower_lip"), ("hat", "skin"),
    *((part, "nose") for part in (*_EYES, *_BROWS, "hat", "glasses")),
    *(("nose", part) for part in (*_LIPS, "neck")),
    *((part, "upper_lip") for part in (*_EYES, "glasses")),
    *((part, "neck") for part in ("upper_lip", "lower_lip", "skin", "hair")),
    *((part, "clothing") for part in ("lower_lip", "skin", "hair")),
)  # fmt: skip
"""The first role's middle is above the second's."""
LARGER: tuple[tuple[str, str], ...] = (
    *(("skin", part) for part in (*_EYES, *_BROWS, *_LIPS, "nose", "glasses", "left_ear", "right_ear")),
    *(("nose", part) for part in _EYES),
)
"""The first role covers more of the picture than the second. Hair and background are left out: in tight
crops they are small."""
SIDES: tuple[tuple[str, str], ...] = (_EYES, _BROWS, ("left_ear", "right_ear"))
"""The person's left is to the right of the person's right."""


class Layout(NamedTuple):
    """Where each value of one mask lies; arrays of (K,), for K values without 255 where that is ignored."""

    values: NDArray[np.int64]
    area: NDArray[np.float32]
    """Share of the pixels."""
    down: NDArray[np.float32]
    """Middle, in shares of the longer side from the picture's own middle; nan for what no sampled pixel
    shows."""
    right: NDArray[np.float32]


def layout_of(ids: NDArray[np.integer[Any]], ignores_255: bool = True) -> Layout:
    """The layout of a mask (H, W) as stored."""
    if ids.dtype == np.uint8:
        pixels = np.bincount(ids.ravel(), minlength=256)
        values = np.flatnonzero(pixels)
        pixels = pixels[values]
    else:
        values, pixels = np.unique(ids, return_counts=True)
    area = pixels / ids.size
    step = max(1, min(ids.shape) // GRID)
    few = ids[::step, ::step]
    index = np.searchsorted(values, few.ravel())
    rows, columns = np.divmod(np.arange(few.size), few.shape[1])
    seen = np.bincount(index, minlength=len(values)).astype(np.float32)
    seen[seen == 0] = np.nan
    side = max(few.shape)
    down = (np.bincount(index, rows, len(values)) / seen - few.shape[0] / 2) / side
    right = (np.bincount(index, columns, len(values)) / seen - few.shape[1] / 2) / side
    labelled = (values != IGNORE_INDEX) | (not ignores_255)
    columns_of = (area, down, right)
    return Layout(
        values[labelled].astype(np.int64), *(column[labelled].astype(np.float32) for column in columns_of)
    )


class Fit(NamedTuple):
    """How well masks keep the rules if their ids have the roles of an order."""

    upright: float
    """Share of the rules on above and larger that hold, over all masks; 1 where none applies."""
    turned: float
    """The same, with each mask turned by the quarter that suits it best."""
    rules: int
    """Different rules that apply to some mask."""
    worst: float
    """Share of the masks, so turned, that keep the rule that fewest of them keep; 1 if none has enough
    masks."""
    worst_rule: tuple[str, str, str]
    """That rule: a role, "above" or "larger than", another role."""
    sides: float
    """Share of left and right that lie as they should; 1 where no mask has both."""
    pairs: int
    """How often left and right were compared."""
    named: float
    """Share of the labelled pixels whose id the order names."""


class Gathered(NamedTuple):
    """The layouts of M masks as arrays over all V values that any of them has; nan where a mask has none."""

    values: NDArray[np.int64]
    """(V,), ascending."""
    parts: NDArray[np.float32]
    """(M, V, 3): area, down, right."""


def gather_layouts(layouts: Sequence[Layout]) -> Gathered:
    """Puts the masks' layouts beside each other; keeps no position if there are too many values for ids."""
    values = np.unique(np.concatenate([layout.values for layout in layouts] or [np.zeros(0, np.int64)]))
    if len(values) > MOST_VALUES:
        return Gathered(values, np.zeros((0, 0, 3), np.float32))
    parts = np.full((len(layouts), len(values), 3), np.nan, np.float32)
    for row, layout in zip(parts, layouts, strict=True):
        row[np.searchsorted(values, layout.values)] = np.stack(layout[1:], -1)
    return Gathered(values, parts)


def fit(gathered: Gathered, order: Order) -> Fit:
    """How well the masks keep the rules in this order."""
    values, parts = gathered
    column = {order[value]: index for index, value in enumerate(values.tolist()) if value in order}
    area, down, right = np.moveaxis(parts, -1, 0)
    rules = [rule for rule in (*ABOVE, *LARGER) if {rule[0], rule[1]} <= column.keys()]
    larger = _votes(area, LARGER, column)
    turns = np.stack([
        np.concatenate([_votes(up, ABOVE, column), larger], axis=1) for up in (-down, -right, down, right)
    ])  # fmt: skip
    kept = (turns > 0).sum(-1)  # (4, M)
    best = np.take_along_axis(turns, kept.argmax(0)[None, :, None], axis=0)[0]
    applied = max(1, int((best != 0).sum()))
    worst, worst_rule = _worst(best, rules)
    sides = _votes(right, SIDES, column)
    compared = int((sides != 0).sum())
    return Fit(
        upright=int(kept[0].sum()) / applied if best.any() else 1.0,
        turned=int(kept.max(0).sum()) / applied if best.any() else 1.0,
        rules=int((best != 0).any(0).sum()),
        worst=worst,
        worst_rule=worst_rule,
        sides=int((sides > 0).sum()) / compared if compared else 1.0,
        pairs=compared,
        named=share_named(gathered, order),
    )


def share_named(gathered: Gathered, ids: Container[int]) -> float:
    """Share of the labelled pixels whose value is one of the ids."""
    weights = np.nan_to_num(gathered.parts[..., 0]).sum(0)
    named = [value in ids for value in gathered.values.tolist()]
    return float(weights[named].sum()) / max(float(weights.sum()), 1e-9)


def _worst(votes: Votes, rules: Sequence[tuple[str, str]]) -> tuple[float, tuple[str, str, str]]:
    """Of the rules (M, R) that apply to enough masks, the one that fewest keep, and their share."""
    masks = (votes != 0).sum(0)
    shares = np.where(masks >= ENOUGH_MASKS, (votes > 0).sum(0) / np.maximum(masks, 1), 1.0)
    if not len(shares) or shares.min() == 1:
        return 1.0, ("", "", "")
    index = int(shares.argmin())
    first, second = rules[index]
    return float(shares[index]), (first, "above" if (first, second) in ABOVE else "larger than", second)


def _votes(
    measure: NDArray[np.float32], rules: Sequence[tuple[str, str]], column: Mapping[str, int]
) -> Votes:
    """(M, R): 1 where the first of a rule has the larger measure, -1 where the second has, else 0."""
    applicable = [
        (column[first], column[second]) for first, second in rules if {first, second} <= column.keys()
    ]
    if not applicable:
        return np.zeros((len(measure), 0), np.int8)
    first, second = np.array(applicable).T
    difference = measure[:, first] - measure[:, second]
    return np.sign(np.nan_to_num(difference)).astype(np.int8)
