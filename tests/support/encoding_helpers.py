"""Encodings of CelebAMask-HQ's labels, as tests write them."""

import numpy as np
from numpy.typing import NDArray

from lisa.labels import IGNORE_INDEX
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import UNKNOWN, Encoding, read_encoding
from lisa.labels.label_set import IGNORE

FACE_PARSING = "face-parsing.pytorch"


def encoding(text: str) -> Encoding:
    return read_encoding(text, CELEBAMASK)


def inverse_table(encoding: Encoding) -> NDArray[np.uint8]:
    """``table[id in the set]`` is the smallest such id in a mask: uint8 (256,); none gives UNKNOWN."""
    table = np.full(256, UNKNOWN, np.uint8)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for index in sorted(encoding.ids, reverse=True):
        if encoding.ids[index] != IGNORE:
            table[encoding.labels.ids[encoding.ids[index]]] = index
    return table
