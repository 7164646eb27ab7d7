"""Label sets as data, encodings of masks, and CelebAMask-HQ's contract of 19 labels."""

from lisa.labels.celebamask import IDS, NAMES, NUM_CLASSES, PAINT_ORDER, PALETTE
from lisa.labels.label_set import IGNORE_INDEX, Label, LabelSet
from lisa.labels.reading import BUILT_IN, read_label_set, refuse_unlearnable, stored_label_set

__all__ = [
    "BUILT_IN",
    "IDS",
    "IGNORE_INDEX",
    "NAMES",
    "NUM_CLASSES",
    "PAINT_ORDER",
    "PALETTE",
    "Label",
    "LabelSet",
    "read_label_set",
    "refuse_unlearnable",
    "stored_label_set",
]
