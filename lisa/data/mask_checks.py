"""What one mask's pixels tell about how it was made."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lisa.labels import IGNORE_INDEX, LabelSet

THIN = 0.01
"""Runs of up to this share of the side are thin, and always those of one pixel."""
RIMMED = 0.15
"""Share of thin rims among all borders from which a mask is spoilt. It was 0.13 at most on CelebAMask-HQ's
own masks at 64 to 1024 pixels and on drawn ones, 0.19 at least after JPEG or smooth resizing
(docs/data.md)."""
SMALLEST = 48
"""Side in pixels below which lips and brows are as thin as rims."""
ENOUGH_BORDERS = 100
"""With fewer borders the share says nothing."""


def rim_share(ids: NDArray[np.integer[Any]]) -> float:
    """Share of the borders in a mask (H, W) that are thin rims: a narrow run of an id between two others.

    JPEG and smooth resizing leave ids between 0 and 13 all along a border of background and hair; of true
    borders few are that near to a third label. 0 for masks too small or with too few borders to tell.
    """
    if min(ids.shape) < SMALLEST:
        return 0.0
    borders = rims = 0
    for rows in (ids, ids.T):
        rows = np.ascontiguousarray(rows)
        width = rows.shape[1]
        changes = np.ones(rows.shape, bool)
        np.not_equal(rows[:, 1:], rows[:, :-1], out=changes[:, 1:])
        starts = np.flatnonzero(changes)
        values, first = rows.ravel()[starts], starts % width == 0
        before, here, after = values[:-2], values[1:-1], values[2:]
        labelled = (before != IGNORE_INDEX) & (here != IGNORE_INDEX) & (after != IGNORE_INDEX)
        inner = ~first[1:-1] & ~first[2:] & labelled
        thin = np.diff(starts[1:]) <= max(1, round(THIN * width))
        borders += int((~first).sum())
        rims += int((inner & thin & (before != after)).sum())
    return rims / borders if borders >= ENOUGH_BORDERS else 0.0


def alone(labels: LabelSet, roles: Sequence[str]) -> list[int]:
    """Ids of the labels that cover one of these roles and nothing else."""
    return [index for role in roles if (index := labels.alone(role)) is not None]


def middle_of(
    ids: NDArray[np.integer[Any]], labels: LabelSet, roles: Sequence[str]
) -> NDArray[np.float64] | None:
    """The middle (x, y) of the pixels of labels that have one of these roles alone; None without any."""
    rows, columns = np.nonzero(np.isin(ids, alone(labels, roles)))
    return np.array((columns.mean(), rows.mean())) if len(rows) else None
