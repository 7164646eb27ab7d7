"""Figures from counts: IoU, F1 and boundary IoU per class, the report's per-image F1, left taken for right.

Ranks exchange integer counts only; every mean is taken once, after the sum (docs/architecture.md, laws).
"""

from typing import Any

import torch
from torch import Tensor

from lisa.evaluation.boundary import boundary_band, boundary_distance
from lisa.labels import IGNORE_INDEX, LabelSet

BACKGROUND = 0


class Tally:
    """Counts of an evaluation over ``pictures`` pictures with ``labels``, each added once, by its index.

    ``confusion`` is (C,C) int64, rows truth, columns prediction. ``per_picture`` is (pictures,6,C) int64:
    pixels right, in the truth, in the prediction, then the same three for the classes' boundary bands
    (:mod:`lisa.evaluation.boundary`). Ranks fill their own rows, the others' stay 0, so that a sum over
    ranks gives the whole.
    """

    def __init__(self, pictures: int, labels: LabelSet, device: torch.device | None = None) -> None:
        classes = len(labels)
        self.labels = labels
        self.confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
        self.per_picture = torch.zeros(pictures, 6, classes, dtype=torch.int64, device=device)

    def add(self, index: int, prediction: Tensor, truth: Tensor) -> None:
        """Counts one picture: (H,W) uint8 ids each; pixels whose truth is 255 don't count."""
        counts = _joint_counts(prediction, truth, len(self.labels))
        confusion = counts.sum((2, 3))
        self.confusion += confusion
        regions = (confusion.diagonal(), confusion.sum(1), confusion.sum(0))
        both = counts[:, :, 1, 1].diagonal()
        boundaries = (both, counts[:, :, 1].sum((1, 2)), counts[:, :, :, 1].sum((0, 2)))
        self.per_picture[index] = torch.stack([*regions, *boundaries])

    @property
    def regions(self) -> Tensor:
        """(pictures,3,C) int64: pixels right, in the truth, in the prediction."""
        return self.per_picture[:, :3]

    @property
    def boundaries(self) -> Tensor:
        """(pictures,3,C) int64: the same of the boundary bands."""
        return self.per_picture[:, 3:]


def _joint_counts(prediction: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Pixels by truth, prediction, in the truth's boundary band, in the prediction's: (C,C,2,2) int64."""
    distance = boundary_distance(truth.shape[0], truth.shape[1])
    # Ignored pixels are a region of their own in both: their contour is no fault of the prediction.
    prediction = torch.where(truth == IGNORE_INDEX, truth, prediction)
    # One bincount over all four; ignored pixels fall into row and column C, which are cut off.
    sides = classes + 1
    cells = truth.clamp(max=classes).int() * sides + prediction.clamp(max=classes)
    cells = cells * 4 + boundary_band(truth, distance) * 2 + boundary_band(prediction, distance)
    counts = torch.bincount(cells.flatten(), minlength=4 * sides**2)
    return counts.view(sides, sides, 2, 2)[:classes, :classes]


def iou_of(counts: Tensor) -> Tensor:
    """Counts (...,3,C) of pixels right, in the truth, in the prediction to IoU (...,C) float64.

    NaN for a class that is neither in the truth nor in the prediction.
    """
    right, truth, predicted = counts.double().unbind(-2)
    return right / (truth + predicted - right)


def f1_of(counts: Tensor) -> Tensor:
    """Like :func:`iou_of`, for the F1 score."""
    right, truth, predicted = counts.double().unbind(-2)
    return 2 * right / (truth + predicted)


def figures(tally: Tally) -> dict[str, Any]:
    """All figures as plain floats and dicts by class name.

    A class that is neither in the truth nor in the prediction has no IoU and no F1 (None) and is left out of
    the means, as in scikit-learn's macro average over the labels that occur. ``mirrored`` is the share of a
    left part's pixels predicted as the right one, and the other way round, for each part and over all; a set
    without pairs has neither it nor ``left_right_confusion``.
    """
    labels = tally.labels
    confusion = tally.confusion.cpu()
    regions = torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)])
    iou, f1 = iou_of(regions), f1_of(regions)
    boundary_iou = iou_of(tally.boundaries.sum(0).cpu())
    return {
        "miou": iou.nanmean().item(),
        "mean_f1": f1.nanmean().item(),
        "mean_f1_without_background": f1[BACKGROUND + 1 :].nanmean().item(),
        "report_f1": report_f1(tally),
        "boundary_miou": boundary_iou.nanmean().item(),
        "pixel_accuracy": (regions[0].sum().double() / regions[1].sum()).item(),
        "iou": _by_name(labels, iou),
        "f1": _by_name(labels, f1),
        "boundary_iou": _by_name(labels, boundary_iou),
        **_left_and_right(labels, confusion),
    }


def _left_and_right(labels: LabelSet, confusion: Tensor) -> dict[str, Any]:
    """Left taken for right, over all pairs and for each of their labels."""
    sided = [index for index, flipped in enumerate(labels.flipped_ids) if index != flipped]
    if not sided:
        return {}
    pixels, mirrored = confusion.sum(1)[sided], confusion[sided, [labels.flipped_ids[at] for at in sided]]
    shares = zip(sided, mirrored.double() / pixels, strict=True)
    return {
        "left_right_confusion": _value(mirrored.sum().double() / pixels.sum()),
        "mirrored": {labels.names[index]: _value(share) for index, share in shares},
    }


def picture_mious(tally: Tally) -> Tensor:
    """Each picture's own mIoU over the classes in its truth or its prediction, (pictures,) float64."""
    return iou_of(tally.regions.cpu()).nanmean(-1)


def report_f1(tally: Tally) -> float:
    """The report's F1: per picture and class, then the mean over both.

    A class absent from both masks of a picture counts 1 (scikit-learn's zero_division=1), which inflates it:
    compare it with the report's own figures only. A picture none of whose pixels count is left out.
    """
    counts = tally.regions.cpu()
    return f1_of(counts[counts.flatten(1).any(1)]).nan_to_num(1.0).mean().item()


def _by_name(labels: LabelSet, values: Tensor) -> dict[str, float | None]:
    return {name: _value(value) for name, value in zip(labels.names, values, strict=True)}


def _value(value: Tensor) -> float | None:
    return None if value.isnan() else value.item()
