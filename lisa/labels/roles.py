"""Parts of a picture that the system knows by meaning, and what lies beside the large ones."""

from collections.abc import Mapping
from types import MappingProxyType

ROLES = (
    "background", "skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear",
    "right_ear", "mouth", "upper_lip", "lower_lip", "hair", "hat", "earrings", "necklace", "neck", "clothing",
    "beard", "facewear",
)  # fmt: skip
"""What a label may mean; it covers one, several or none of them."""

BESIDE: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "background": ROLES,  # no rule asks where it lies
    "skin": (
        "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "left_ear", "right_ear",
        "mouth", "upper_lip", "lower_lip", "beard", "facewear",
    ),
    "hair": ("hat", "earrings", "beard"),
    "neck": ("necklace",),
    "clothing": ("necklace",),
})  # fmt: skip
"""Large regions, and what a label may cover beside one of them and still keep the rules of that region."""
