"""Cross entropy and soft Dice (the report's Section 2.3), Lovasz-softmax, focal, and their weighted sum.

Logits are (B,C,H,W); targets (B,H,W) integer ids, of which ``IGNORE_INDEX`` neither trains nor counts. All
terms are computed in float32 at least, whatever autocast says.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.config import LossConfig
from lisa.labels import IGNORE_INDEX


def cross_entropy(
    logits: Tensor, target: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Eq. 1, the mean over counted pixels (by class weighted with ``weights`` (C,) if given); or 0."""
    logits, target = _pixels(logits, target)
    total = F.cross_entropy(
        logits, target, weights, ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=label_smoothing
    )
    valid = target != IGNORE_INDEX
    if weights is None:
        return total / valid.sum().clamp(min=1)
    return total / weights[target[valid]].sum().clamp(min=1e-6)


def focal(logits: Tensor, target: Tensor, gamma: float) -> Tensor:
    """Cross entropy times (1 - p)^gamma, p the true class's probability (https://arxiv.org/abs/1708.02002)."""
    logits, target = _pixels(logits, target)
    losses = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="none")
    # p just below 1 keeps the power's gradient finite for gamma < 1.
    total = ((1 - (-losses).exp()).clamp(min=1e-7) ** gamma * losses).sum()
    return total / (target != IGNORE_INDEX).sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Eq. 2 on softmax probabilities, per class over the whole batch, the mean over the classes in it.

    The true class's probability is gathered and summed by class, so that no one-hot target is ever made.
    """
    logits, target = _pixels(logits, target)
    valid = target != IGNORE_INDEX
    known = torch.where(valid, target, 0)
    probabilities = logits.softmax(dim=1) * valid[:, None]
    of_truth = probabilities.gather(1, known[:, None])[:, 0]
    # index_add sums one after another: in float32 millions of pixels would round to another sum.
    zeros = probabilities.new_zeros(logits.shape[1], dtype=torch.float64)
    intersection = zeros.index_add(0, known, of_truth.double()).to(probabilities.dtype)
    truth = zeros.index_add(0, known, valid.double()).to(probabilities.dtype)
    predicted = probabilities.sum(0)
    loss = 1 - 2 * intersection / (predicted + truth + smoothing)
    present = truth > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-softmax (https://arxiv.org/abs/1705.08790) over the batch, the mean over the classes in it.

    Each class's errors, sorted, times the Lovasz extension's gradient: a convex surrogate of the IoU.
    """
    logits, target = _pixels(logits, target)
    valid = target != IGNORE_INDEX
    probabilities, known = logits.softmax(dim=1)[valid], target[valid]
    terms: list[Tensor] = []
    for index in known.unique():
        truth = (known == index).to(probabilities.dtype)
        errors = (truth - probabilities[:, int(index)]).abs()
        order = _largest_first(errors.detach())
        steps = torch.empty_like(errors).scatter_(0, order, _lovasz_gradient(truth[order]))
        terms.append((errors * steps).sum())
    return torch.stack(terms).mean() if terms else logits.sum() * 0


def _largest_first(values: Tensor) -> Tensor:
    """The order of (N,) numbers >= 0, of float32 or float64.

    Their bits have the same order read as integers, which torch sorts ten times as fast on the CPU.
    """
    bits = values.view(torch.int32 if values.dtype == torch.float32 else torch.int64)
    return bits.argsort().flip(0)


def _lovasz_gradient(sorted_truth: Tensor) -> Tensor:
    """Steps of the Jaccard loss as pixels are added in this order (the paper's Algorithm 1)."""
    total = sorted_truth.sum()
    intersection = total - sorted_truth.cumsum(0)
    union = total + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])


def _pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(B,C,H,W) and (B,H,W) to (N,C) and (N,) int64: of a channels_last map a view, not a copy."""
    return logits.movedim(1, -1).flatten(end_dim=-2), target.flatten().long()


def class_weights(counts: Tensor, power: float) -> Tensor | None:
    """Weights (C,) float32 that fall with a class's pixels (C,) to this power; their pixel-wise mean is 1.

    None for power 0. Classes that never occur weigh 0.
    """
    if power == 0:
        return None
    frequency = counts.double() / counts.sum()
    weights = torch.where(counts > 0, frequency.clamp(min=1e-12) ** -power, 0.0)
    return (weights / (weights * frequency).sum()).float()


class SegmentationLoss(nn.Module):
    """The config's weighted sum of the terms; a term of weight 0 is not computed."""

    weights: Tensor | None

    def __init__(self, config: LossConfig, weights: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Scalar loss; of a sequence of logits the first counts in full, the auxiliary ones by their mean."""
        if isinstance(logits, Tensor):
            return self._one(logits, target)
        main, *auxiliary = (self._one(each, target) for each in logits)
        return main + self.config.auxiliary * torch.stack(auxiliary).mean()

    def _one(self, logits: Tensor, target: Tensor) -> Tensor:
        config = self.config
        logits = logits if logits.dtype == torch.float64 else logits.float()
        loss = logits.new_zeros(())
        if config.cross_entropy > 0:
            smoothed = cross_entropy(logits, target, config.label_smoothing, self.weights)
            loss = loss + config.cross_entropy * smoothed
        if config.dice > 0:
            loss = loss + config.dice * dice(logits, target, config.dice_lambda)
        if config.lovasz > 0:
            loss = loss + config.lovasz * lovasz(logits, target)
        if config.focal > 0:
            loss = loss + config.focal * focal(logits, target, config.focal_gamma)
        return loss
