"""Cross entropy, Dice and Lovasz-softmax of a batch on the CPU: one softmax, one gradient, rows of classes.

Term by term, autograd writes maps of (N,C) again and again: of four pictures at 512x512 80 MB each time. Here
the forward pass knows the gradient. With p the probabilities (C,N), y the true class, k a pixel's share of
the cross entropy, and the gradient of Dice and Lovasz to p

    g = G + a[c] + b[c] at the pixels of class c,

the gradient to the logits is p (g - sum_c p g + k), less k at y.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lisa.config import LossConfig
from lisa.labels import IGNORE_INDEX
from lisa.losses.lovasz_on_cpu import loss_and_gradient
from lisa.models.kernels.fast_path import eager_on_cpu

BLOCK = 2**14
"""Pixels that are combined at once: their rows stay in the core's own cache."""


def serves(config: LossConfig, logits: Tensor) -> bool:
    """Whether these terms of these logits can be computed here, and faster: cross entropy alone is not."""
    return config.dice + config.lovasz > 0 and logits.dtype == torch.float32 and eager_on_cpu(logits)


def fused_loss(logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """The weighted sum of the terms; (B,C,H,W) float32, (B,H,W) ids."""
    return _FusedLoss.apply(logits, target, config)  # pyright: ignore[reportReturnType]


class _FusedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, config: LossConfig) -> Tensor:
        batch = _Batch(logits.detach(), target)
        cross_entropy, share = batch.cross_entropy(config.cross_entropy)
        probabilities = batch.probabilities()
        dice, everywhere, own = batch.dice(probabilities, config.dice, config.dice_lambda)
        lovasz, gradient = 0.0, None
        if config.lovasz > 0:
            lovasz, gradient = loss_and_gradient(probabilities, batch.target, config.lovasz)
        if ctx.needs_input_grad[0]:
            if gradient is None:
                gradient = torch.zeros_like(probabilities)
            batch.combine(probabilities, gradient, everywhere, own, share)
            ctx.save_for_backward(gradient.t().contiguous())
        ctx.shape = logits.shape
        return cross_entropy + dice + lovasz

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        count, classes, height, width = ctx.shape
        pixels = (gradient * grad_outputs[0]).view(count, height, width, classes)
        return pixels.movedim(-1, 1), None, None


class _Batch:
    """A batch's pixels in rows of classes."""

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        pixels = logits.movedim(1, -1).flatten(end_dim=-2)  # of a channels_last map a view
        self.rows = pixels.t().contiguous().log_softmax(0)
        self.target = target.flatten().long()
        self.valid = self.target != IGNORE_INDEX
        self.known = torch.where(self.valid, self.target, 0)

    def _of_truth(self) -> Tensor:
        """(N,): each pixel's value in its own class's row."""
        return self.rows.gather(0, self.known[None])[0]

    def cross_entropy(self, factor: float) -> tuple[Tensor, Tensor]:
        """The term, and each pixel's share of it, (N,), 0 where ignored."""
        share = self.valid.float()
        share *= factor / share.sum().clamp(min=1)
        return -(share * self._of_truth()).sum(), share

    def probabilities(self) -> Tensor:
        """(C,N), 0 where ignored; in place of the logarithms."""
        self.rows.exp_()
        ignored = np.flatnonzero(self.target.numpy() == IGNORE_INDEX)  # mostly none: no pass over all rows
        self.rows.numpy()[:, ignored] = 0
        return self.rows

    def dice(self, probabilities: Tensor, factor: float, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
        """The term; its gradient to all probabilities of a class, (C,), and beside it to the class's own."""
        classes = len(probabilities)
        ids = self.target.numpy()
        # In float64: one after another, float32 would round millions of pixels to another sum.
        own = np.bincount(ids, self._of_truth().numpy(), minlength=classes)[:classes]
        counts = np.bincount(ids, minlength=classes)[:classes]
        intersection, count = (torch.from_numpy(each).float() for each in (own, counts))
        present = (count > 0).float()
        scale = factor * present / present.sum().clamp(min=1)
        union = probabilities.sum(1) + count + smoothing
        loss = (scale * (1 - 2 * intersection / union)).sum()
        return loss, scale * 2 * intersection / union**2, -2 * scale / union

    def combine(
        self, probabilities: Tensor, gradient: Tensor, everywhere: Tensor, own: Tensor, share: Tensor
    ) -> None:
        """Makes the gradient to probabilities one to logits, in place."""
        at_truth = self._of_truth() * own[self.known]
        products = torch.empty(len(gradient), BLOCK)
        for start in range(0, gradient.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            p, g = probabilities[:, block], gradient[:, block]
            g += everywhere[:, None]
            product = torch.mul(p, g, out=products[:, : p.shape[1]])
            g += share[block] - at_truth[block] - product.sum(0)
            g *= p
        gradient.scatter_add_(0, self.known[None], (at_truth - share)[None])
