"""Other orders of the same 19 labels: masks and predictions of other tools, read and written.

Two orders are in circulation: CelebAMask-HQ's own, as in :mod:`lisa.labels`, and that of
https://github.com/zllrunning/face-parsing.PyTorch, whose masks and weights many tools share.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lisa.errors import InputError
from lisa.labels import IDS, IGNORE_INDEX, NAMES, NUM_CLASSES

CELEBAMASK = "celebamask-hq"
FACE_PARSING = "face-parsing.pytorch"
ORDERS: Mapping[str, tuple[str, ...]] = MappingProxyType({
    CELEBAMASK: NAMES,
    FACE_PARSING: (
        "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r",
        "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
    ),
})  # fmt: skip
"""Known orders: index in the tuple is the id in a mask of that order."""

UNKNOWN = 254
"""What a table gives for an id that its order doesn't have."""

TYPICAL_PERCENT: Mapping[str, float] = MappingProxyType({
    "background": 28.9, "skin": 25.6, "nose": 2.1, "eye_g": 0.3, "l_eye": 0.22, "r_eye": 0.22, "l_brow": 0.43,
    "r_brow": 0.43, "l_ear": 0.5, "r_ear": 0.4, "mouth": 0.3, "u_lip": 0.4, "l_lip": 0.7, "hair": 30.7,
    "hat": 1.2, "ear_r": 0.2, "neck_l": 0.02, "neck": 4.1, "cloth": 3.4,
})  # fmt: skip
"""Share of each label in CelebAMask-HQ's pixels, measured on 730 of its masks."""

CLEARLY_BETTER = 0.25
"""Gain in log-likelihood per pixel (nats) from which another order fits beyond doubt: a set in the wrong
one of the two known orders gives about 0.7, mostly by its hair."""


def label_names(order: str | Sequence[str]) -> tuple[str, ...]:
    """Names by id of a known order, of ``"name,name,..."`` or of a sequence of names.

    Raises:
        InputError: an unknown order or name, or a name that comes twice.
    """
    if isinstance(order, str):
        known = ORDERS.get(order.lower())
        if known is not None:
            return known
        if "," not in order:
            raise InputError(
                f"label order {order!r} is not known; give {' or '.join(ORDERS)}, or the names of your ids "
                f"from 0 on, separated by commas: {','.join(NAMES)}"
            )
        order = [name.strip() for name in order.split(",")]
    names = tuple(order)
    unknown = [name for name in names if name not in IDS]
    twice = sorted({name for name in names if names.count(name) > 1})
    if unknown:
        raise InputError(
            f"label order has unknown names {', '.join(unknown)}; the labels are {', '.join(NAMES)}"
        )
    if twice:
        raise InputError(
            f"label order has {', '.join(twice)} more than once; each id needs a name of its own"
        )
    return names


def lookup_table(order: str | Sequence[str]) -> NDArray[np.uint8]:
    """``table[id in that order]`` is the id in ours: uint8 (256,); 255 stays, no such id gives UNKNOWN."""
    table = np.full(256, UNKNOWN, np.uint8)
    for theirs, name in enumerate(label_names(order)):
        table[theirs] = IDS[name]
    table[IGNORE_INDEX] = IGNORE_INDEX
    return table


def inverse_table(order: str | Sequence[str]) -> NDArray[np.uint8]:
    """``table[our id]`` is the id in that order: uint8 (256,); labels that it lacks give UNKNOWN."""
    table = np.full(256, UNKNOWN, np.uint8)
    for theirs, name in enumerate(label_names(order)):
        table[IDS[name]] = theirs
    table[IGNORE_INDEX] = IGNORE_INDEX
    return table


def convert(mask: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask (H, W) looked up in a table of :func:`lookup_table` or :func:`inverse_table`.

    Raises:
        InputError: the mask has ids that the table doesn't know.
    """
    converted = table[mask]
    if (converted == UNKNOWN).any():
        ids = np.unique(mask[converted == UNKNOWN]).tolist()
        raise InputError(f"ids {ids} have no name in the label order; name every id that the masks use")
    return converted


def order_hint(counts: ArrayLike, order: str | Sequence[str] = CELEBAMASK) -> str | None:
    """Why these masks are clearly not in ``order``, and what to do; None if they may well be.

    Args:
        counts: Pixels per id, (19,) or more, before any conversion, over 20 masks or so: one mask alone
            can be odd (9 of 847 real ones are).
        order: The order that the masks are taken for.
    """
    pixels = np.zeros(256)
    given = np.asarray(counts, np.float64)
    pixels[: len(given)] = given
    names = label_names(order)
    pixels = pixels[: len(names)]
    if pixels.sum() == 0:
        return None
    share = pixels / pixels.sum()
    ours = _fit(share, names)
    better = {
        name: _fit(share, known) - ours
        for name, known in ORDERS.items()
        if known != names and len(names) == NUM_CLASSES
    }
    best = max(better, key=lambda name: better[name], default=None)
    if best is not None and better[best] > CLEARLY_BETTER:
        return f"the masks look like the label order of {best}: give --data.label-order {best}"
    face = {name: share[index] for index, name in enumerate(names) if name in NAMES[1:13]}
    if "skin" not in face:
        return None
    largest = max(face, key=lambda name: face[name])
    if largest != "skin" and face[largest] > 0:
        return (
            f"id {names.index(largest)} ({largest}) is the largest region of the face, and skin should be: "
            "the masks are in another label order; name their ids with --data.label-order"
        )
    return None


def _fit(share: NDArray[np.float64], names: Sequence[str]) -> float:
    """Log-likelihood per pixel of the shares by id if these are the ids' names."""
    typical = np.array([TYPICAL_PERCENT[name] for name in names]) / 100
    return float(share @ np.log(typical))
