"""Figures from counts: mIoU, IoU and F1 per class, and the report's per-image F1.

Ranks exchange integer counts only; every mean is taken once, after the sum (contract 3).
"""

from typing import Any

import torch
from torch import Tensor

from lisa.labels import IGNORE_INDEX, NAMES, NUM_CLASSES


class Tally:
    """Counts of an evaluation over ``pictures`` pictures, each added once, by its index.

    ``confusion`` is (C,C) int64, rows truth, columns prediction. ``per_picture`` is (pictures,3,C) int64:
    pixels right, in the truth, in the prediction. Ranks fill their own rows, the others' stay 0, so that a
    sum over ranks gives the whole.
    """

    def __init__(self, pictures: int, device: torch.device | None = None) -> None:
        self.confusion = torch.zeros(NUM_CLASSES, NUM_CLASSES, dtype=torch.int64, device=device)
        self.per_picture = torch.zeros(pictures, 3, NUM_CLASSES, dtype=torch.int64, device=device)

    def add(self, index: int, prediction: Tensor, truth: Tensor) -> None:
        """Counts one picture: (H,W) ids each; pixels whose truth is 255 don't count."""
        valid = truth != IGNORE_INDEX
        cells = truth[valid].long() * NUM_CLASSES + prediction[valid].long()
        counts = torch.bincount(cells, minlength=NUM_CLASSES**2).view(NUM_CLASSES, NUM_CLASSES)
        self.confusion += counts
        self.per_picture[index] = torch.stack([counts.diagonal(), counts.sum(1), counts.sum(0)])


def figures(tally: Tally) -> dict[str, Any]:
    """All figures as plain floats and dicts by class name.

    A class that is neither in the truth nor in the prediction has no IoU and no F1 (None) and is left out of
    the means, as in scikit-learn's macro average over the labels that occur.
    """
    confusion = tally.confusion.double().cpu()
    right, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    iou = right / (truth + predicted - right)
    f1 = 2 * right / (truth + predicted)
    return {
        "miou": iou.nanmean().item(),
        "mean_f1": f1.nanmean().item(),
        "report_f1": report_f1(tally),
        "pixel_accuracy": (right.sum() / truth.sum()).item(),
        "iou": _by_name(iou),
        "f1": _by_name(f1),
    }


def report_f1(tally: Tally) -> float:
    """The report's F1: per picture and class, then the mean over both.

    A class absent from both masks of a picture counts 1 (scikit-learn's zero_division=1), which inflates it:
    compare it with the report's own figures only.
    """
    right, truth, predicted = tally.per_picture.double().cpu().unbind(1)
    both = truth + predicted
    return torch.where(both > 0, 2 * right / both, 1.0).mean().item()


def _by_name(values: Tensor) -> dict[str, float | None]:
    return {
        name: None if value != value else value for name, value in zip(NAMES, values.tolist(), strict=True)
    }
