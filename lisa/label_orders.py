"""Other orders of the same 19 labels: masks and predictions of other tools, read and written.

Two orders are in circulation: CelebAMask-HQ's own, as in :mod:`lisa.labels`, and that of
https://github.com/zllrunning/face-parsing.PyTorch, whose masks and weights many tools share.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lisa.errors import InputError
from lisa.labels import IDS, IGNORE_INDEX, NAMES

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

OLD_NAMES: Mapping[str, str] = MappingProxyType({"zllrunning": FACE_PARSING, "celebamask": CELEBAMASK})
"""Orders by the names that the predictor had for them before."""

UNKNOWN = 254
"""What a table gives for an id that its order doesn't have."""


def label_names(order: str | Sequence[str]) -> tuple[str, ...]:
    """Names by id of a known order, of ``"name,name,..."`` or of a sequence of names.

    Raises:
        InputError: an unknown order or name, or a name that comes twice.
    """
    if isinstance(order, str):
        name = order.lower()
        known = ORDERS.get(OLD_NAMES.get(name, name))
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
