"""Cross entropy and soft Dice (the report's Section 2.3), Lovasz-softmax, and their weighted sum.

Logits are (B,C,H,W); targets (B,H,W) integer ids, of which ``IGNORE_INDEX`` neither trains nor counts. All
terms are computed in float32 at least, whatever autocast says. No term waits for a GPU, and none has a shape
that depends on values: network and loss compile as one graph.

Kornia's and segmentation_models.pytorch's losses do not serve: Eq. 2's lambda, classes over the whole batch
and absent ones left out, ignored pixels, no one-hot target.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.config import LossConfig
from lisa.labels import IGNORE_INDEX
from lisa.losses.lovasz_softmax import lovasz_softmax
from lisa.losses.on_cpu import fused_loss, serves
from lisa.models.kernels.fast_path import eager_on_cpu


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Eq. 1: (B,C,H,W) and (B,H,W) to (), the mean over counted pixels; 0 without any."""
    return _Pixels(logits, target).cross_entropy()


def dice(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Eq. 2: (B,C,H,W) and (B,H,W) to (), per class over the whole batch, the mean over the classes in it.

    ``smoothing`` is Eq. 2's lambda; probabilities are softmax's.
    """
    return _Pixels(logits, target).dice(smoothing)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-softmax: (B,C,H,W) and (B,H,W) to (), the mean over the classes in the batch.

    :mod:`lisa.losses.lovasz_softmax` has the formulas.
    """
    return _Pixels(logits, target).lovasz()


class _Pixels:
    """The terms of one batch: they share its softmax, and autograd goes through it once for all of them."""

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        # (B,C,H,W) to (N,C): of a channels_last map a view, not a copy.
        pixels = logits.movedim(1, -1).flatten(end_dim=-2)
        self.target = target.flatten().long()
        self.valid = self.target != IGNORE_INDEX
        self.log_probabilities = pixels.log_softmax(dim=1)
        self._probabilities: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        """(N,C)."""
        if self._probabilities is None:
            self._probabilities = self.log_probabilities.exp()
        return self._probabilities

    def cross_entropy(self) -> Tensor:
        # Summed here: with reduction="sum" CUDA gives all pixels to one thread block.
        losses = F.nll_loss(self.log_probabilities, self.target, ignore_index=IGNORE_INDEX, reduction="none")
        return losses.sum() / self.valid.sum().clamp(min=1)

    def dice(self, smoothing: float) -> Tensor:
        counted = torch.where(self.valid[:, None], self.probabilities, 0)
        intersection, truth = _class_sums(counted, self.target)
        loss = 1 - 2 * intersection / (counted.sum(0) + truth + smoothing)
        present = truth > 0
        return (loss * present).sum() / present.sum().clamp(min=1)

    def lovasz(self) -> Tensor:
        return lovasz_softmax(self.probabilities, self.target)


def _class_sums(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of (N,C) and (N,): each class's sum (C,) over its own pixels, and how many these are."""
    classes = probabilities.shape[1]
    if eager_on_cpu(probabilities):
        # index_add sums one after another: in float32 millions of pixels would round to another sum.
        zeros = probabilities.new_zeros(classes, dtype=torch.float64)
        valid = target != IGNORE_INDEX
        known = torch.where(valid, target, 0)
        of_truth = probabilities.gather(1, known[:, None])[:, 0]
        sums = (zeros.index_add(0, known, values.double()) for values in (of_truth, valid))
        intersection, truth = (each.to(probabilities.dtype) for each in sums)
        return intersection, truth
    # On a GPU all threads would wait for these few addresses; compiled, the mask is never stored.
    own = target[:, None] == torch.arange(classes, device=target.device)
    return torch.where(own, probabilities, 0).sum(0), own.sum(0)


class SegmentationLoss(nn.Module):
    """The config's weighted sum of the terms; a term of weight 0 is not computed."""

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B,C,H,W) logits and (B,H,W) integer ids to the loss ()."""
        config = self.config
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if serves(config, logits):
            return fused_loss(logits, target, config)
        pixels = _Pixels(logits, target)
        terms: list[Tensor] = []
        if config.cross_entropy > 0:
            terms.append(config.cross_entropy * pixels.cross_entropy())
        if config.dice > 0:
            terms.append(config.dice * pixels.dice(config.dice_lambda))
        if config.lovasz > 0:
            terms.append(config.lovasz * pixels.lovasz())
        return torch.stack(terms).sum()
