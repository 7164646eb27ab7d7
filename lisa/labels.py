"""The label contract of CelebAMask-HQ: 19 names, ids, palette, flip pairs and paint order.

Left and right are the *person's*: ``l_eye`` lies on the right half of the picture.
Source: Lee et al., MaskGAN (CVPR 2020), https://arxiv.org/abs/1907.11922, and the data set's release.
"""

from typing import NamedTuple

IGNORE_INDEX = 255
"""Mask value of pixels that neither train nor count."""


class Label(NamedTuple):
    """One class: its name in CelebAMask-HQ and its colour (R, G, B)."""

    name: str
    color: tuple[int, int, int]


LABELS: tuple[Label, ...] = (
    Label("background", (0, 0, 0)),
    Label("skin", (204, 0, 0)),
    Label("nose", (76, 153, 0)),
    Label("eye_g", (204, 204, 0)),
    Label("l_eye", (51, 51, 255)),
    Label("r_eye", (204, 0, 204)),
    Label("l_brow", (0, 255, 255)),
    Label("r_brow", (255, 204, 204)),
    Label("l_ear", (102, 51, 0)),
    Label("r_ear", (255, 0, 0)),
    Label("mouth", (102, 204, 0)),
    Label("u_lip", (255, 255, 0)),
    Label("l_lip", (0, 0, 153)),
    Label("hair", (0, 0, 204)),
    Label("hat", (255, 51, 153)),
    Label("ear_r", (0, 204, 204)),
    Label("neck_l", (0, 51, 0)),
    Label("neck", (255, 153, 51)),
    Label("cloth", (0, 204, 0)),
)
"""Index in this tuple is the id in a mask."""

NAMES: tuple[str, ...] = tuple(label.name for label in LABELS)
NUM_CLASSES: int = len(LABELS)
IDS: dict[str, int] = {name: index for index, name in enumerate(NAMES)}

PALETTE: tuple[int, ...] = tuple(channel for label in LABELS for channel in label.color)
"""Flat R, G, B, R, G, B, ... for ``PIL.Image.putpalette``."""

FLIP_PAIRS: tuple[tuple[int, int], ...] = ((4, 5), (6, 7), (8, 9))
"""Ids that change places when a picture is mirrored."""

FLIPPED_IDS: tuple[int, ...] = tuple(
    {**dict(FLIP_PAIRS), **{right: left for left, right in FLIP_PAIRS}}.get(index, index)
    for index in range(NUM_CLASSES)
)
"""``FLIPPED_IDS[id]`` is the id of the same part in the mirrored picture."""

PAINT_ORDER: tuple[str, ...] = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""The raw release's part masks are painted in this order; later parts win."""
