"""Where the parts of an aligned face lie, measured in the training masks: the search for faces goes by it.

Parts are known by their labels' roles, so that any label set with eyes and a mouth will do. The predictor's
``faces/arrangement.py`` reads what is written here; it travels in checkpoints and in exported files.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lisa.data.evenly import evenly
from lisa.data.pairs import Pair, read_mask
from lisa.labels import LabelSet

SAMPLE = 256
"""Masks, evenly spread, that are measured."""

FEWEST = 5
"""A part that fewer masks show is not measured."""

LOOSEST = 0.08
"""Faces whose eyes' places spread more, as a share of the side, are not aligned."""

GLASSES_SPREAD, GLASSES_AREA = (0.030, 0.026), 0.060
"""Dark glasses of CelebAMask-HQ, for sets that show too few: shares of the side, and of the frame's area."""

INNER = {
    *("skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "mouth", "upper_lip"),
    *("lower_lip", "beard"),
}
"""Roles of what covers the inner face."""


class Part(NamedTuple):
    """A part of the arrangement, left and right as seen."""

    name: str
    roles: frozenset[str]
    weight: float
    """Its share of the score."""


PARTS = (
    Part("left_eye", frozenset({"right_eye"}), 1.0),
    Part("right_eye", frozenset({"left_eye"}), 1.0),
    Part("left_brow", frozenset({"right_brow"}), 0.5),
    Part("right_brow", frozenset({"left_brow"}), 0.5),
    Part("nose", frozenset({"nose"}), 1.0),
    Part("mouth", frozenset({"mouth", "upper_lip", "lower_lip"}), 1.0),
    Part("glasses", frozenset({"glasses"}), 0.0),
)
NEEDED = ("left_eye", "right_eye", "mouth")


class Seen(NamedTuple):
    """A part in one mask: its centroid, shares of the side, and its share of the area."""

    x: float
    y: float
    area: float


def part_ids(labels: LabelSet) -> dict[str, list[int]]:
    """The labels that show each part and nothing else, by the part's name; parts without one are absent."""
    found = {
        part.name: [
            index for index, label in enumerate(labels.labels) if label.roles and part.roles >= {*label.roles}
        ]
        for part in PARTS
    }
    return {name: ids for name, ids in found.items() if ids}


def measure_arrangement(pairs: Sequence[Pair], labels: LabelSet) -> dict[str, Any]:
    """Places, covariances and areas of the parts, as JSON holds them, or the ``reason`` why there are none.

    Raises InputError for a mask that can't be read.
    """
    ids = part_ids(labels)
    missing = [name.replace("_", " ") for name in NEEDED if name not in ids]
    if missing:
        return {"reason": f"label set {labels.name} has no label of its own for {', '.join(missing)}"}
    sample = evenly(pairs, SAMPLE)
    with ThreadPoolExecutor() as pool:
        masks = list(pool.map(lambda pair: _seen(pair, list(ids.values())), sample))
    seen = {name: [mask[index] for mask in masks] for index, name in enumerate(ids)}
    parts = [_part(part, ids[part.name], seen) for part in PARTS if part.name in ids]
    measured = {part["name"]: part for part in parts if part is not None}
    missing = [name.replace("_", " ") for name in NEEDED if name not in measured]
    if missing:
        return {"reason": f"too few of its training masks show {', '.join(missing)}"}
    spread = max(np.sqrt(np.diag(measured[name]["covariance"])).max() for name in NEEDED[:2])
    if spread > LOOSEST:
        return {"reason": f"its training faces are not aligned: their eyes' places spread by {spread:.2f}"}
    inner = [index for index, label in enumerate(labels.labels) if index and INNER & {*label.roles}]
    return {"parts": list(measured.values()), "face_ids": inner, "masks": len(sample)}


def _seen(pair: Pair, parts: list[list[int]]) -> list[Seen | None]:
    """Each part in a mask; None where it is not to be seen."""
    ids = np.asarray(read_mask(pair))
    table = np.zeros(256, np.int64)
    for number, labels in enumerate(parts, start=1):
        table[labels] = number
    rows, columns = np.indices(ids.shape, np.float32)
    numbers = table[ids].ravel()
    counts = np.bincount(numbers, minlength=len(parts) + 1)[1:]
    sums = [
        np.bincount(numbers, each.ravel(), minlength=len(parts) + 1)[1:] + counts / 2
        for each in (columns, rows)
    ]
    height, width = ids.shape
    return [
        Seen(x / count / width, y / count / height, count / ids.size) if count else None
        for count, x, y in zip(counts.tolist(), *(each.tolist() for each in sums), strict=True)
    ]


def _part(part: Part, ids: list[int], seen: dict[str, list[Seen | None]]) -> dict[str, Any] | None:
    found = seen[part.name]
    if part.name == "glasses":  # those that hide the eyes: others leave them to be seen
        eyes = zip(seen["left_eye"], seen["right_eye"], strict=True)
        found = [glasses for glasses, both in zip(found, eyes, strict=True) if both == (None, None)]
    places = np.array([(each.x, each.y) for each in found if each is not None]).reshape(-1, 2)
    areas = [each.area for each in found if each is not None]
    if len(places) < FEWEST:
        if part.name != "glasses":
            return None
        both = [each for name in NEEDED[:2] for each in seen[name] if each is not None]
        if not both:
            return None
        mean = np.mean([(each.x, each.y) for each in both], axis=0)
        covariance, area = np.diag(np.square(GLASSES_SPREAD)), GLASSES_AREA
    else:
        mean, covariance = _robust(places)
        area = float(np.median(areas))
    return {
        "name": part.name,
        "ids": ids,
        "weight": part.weight,
        "mean": [round(float(value), 5) for value in mean],
        "covariance": [[float(f"{value:.3g}") for value in row] for row in covariance],
        "area": float(f"{area:.3g}"),
    }


def _robust(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and covariance without what lies far out: a mask whose left and right are exchanged, say."""
    middle = np.median(places, axis=0)
    deviation = np.abs(places - middle)
    spread = 1.4826 * np.median(deviation, axis=0)
    near = places[(deviation <= 5 * spread + 1e-3).all(axis=1)]
    # No part is surer than half a pixel of a small mask.
    return near.mean(axis=0), np.atleast_2d(np.cov(near.T, bias=True)) + np.eye(2) * 2e-6
