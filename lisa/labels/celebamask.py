"""The label contract of CelebAMask-HQ, the default set: 19 names, ids, palette, flip pairs and paint order.

Left and right are the *person's*: ``l_eye`` lies on the right half of the picture.
Source: Lee et al., MaskGAN (CVPR 2020), https://arxiv.org/abs/1907.11922, and the data set's release.
"""

from lisa.labels.reading import read_label_set

CELEBAMASK = read_label_set("celebamask")

NAMES: tuple[str, ...] = CELEBAMASK.names
NUM_CLASSES: int = len(CELEBAMASK)
IDS: dict[str, int] = CELEBAMASK.ids

PALETTE: tuple[int, ...] = CELEBAMASK.palette
"""Flat R, G, B, R, G, B, ... for ``PIL.Image.putpalette``."""

PAINT_ORDER: tuple[str, ...] = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""The raw release's part masks are painted in this order; later parts win."""
