"""Cross entropy and soft Dice (the report's Section 2.3), and their weighted sum.

Logits are (B,C,H,W); targets (B,H,W) integer ids, of which ``IGNORE_INDEX`` neither trains nor counts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.config import LossConfig
from lisa.labels import IGNORE_INDEX


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Eq. 1, the mean over counted pixels; 0 where no pixel counts."""
    target = target.long()
    total = F.cross_entropy(logits, target, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (target != IGNORE_INDEX).sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Eq. 2 on softmax probabilities, per class over the whole batch, the mean over the classes in it.

    The true class's probability is gathered and summed by class, so that no one-hot target is ever made.
    """
    classes = logits.shape[1]
    valid = target != IGNORE_INDEX
    known = torch.where(valid, target, 0).long()
    probabilities = logits.float().softmax(dim=1) * valid[:, None]
    of_truth = probabilities.gather(1, known[:, None])[:, 0]
    zeros = probabilities.new_zeros(classes)
    intersection = zeros.index_add(0, known.flatten(), of_truth.flatten())
    truth = zeros.index_add(0, known.flatten(), valid.flatten().to(zeros.dtype))
    predicted = probabilities.sum((0, 2, 3))
    loss = 1 - 2 * intersection / (predicted + truth + smoothing)
    present = truth > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


class SegmentationLoss(nn.Module):
    """The config's weighted sum of the terms; a term of weight 0 is not computed."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar float32 loss."""
        logits = logits.float()
        loss = logits.new_zeros(())
        if self.config.cross_entropy > 0:
            loss = loss + self.config.cross_entropy * cross_entropy(logits, target)
        if self.config.dice > 0:
            loss = loss + self.config.dice * dice(logits, target, self.config.dice_lambda)
        return loss
