"""Losses: their terms, and how the CPU computes them."""

from lisa.losses.terms import (
    SegmentationLoss,
    class_weights,
    cross_entropy,
    dice,
    focal,
    lovasz,
)

__all__ = ["SegmentationLoss", "class_weights", "cross_entropy", "dice", "focal", "lovasz"]
