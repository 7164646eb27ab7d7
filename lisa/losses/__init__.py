"""Losses: their terms, and how the CPU computes them."""

from lisa.losses.terms import (
    SegmentationLoss,
    cross_entropy,
    dice,
    lovasz,
)

__all__ = ["SegmentationLoss", "cross_entropy", "dice", "lovasz"]
