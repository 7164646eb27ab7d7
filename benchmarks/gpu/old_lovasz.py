"""Lovasz-softmax as it was, kept as a reference: neighbouring Jaccard losses are subtracted."""

import torch
from torch import Tensor

from lisa.labels import IGNORE_INDEX


def old_lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """(B,C,H,W) and (B,H,W) to a scalar: the paper's Algorithm 1, the mean over the classes in the batch.

    In float64 it is right to 1e-12 and the referee of its successor; in float32 its gradient is not: at ten
    million pixels a quarter of it is wrong.
    """
    pixels = logits.movedim(1, -1).flatten(end_dim=-2)
    flat = target.flatten().long()
    valid = flat != IGNORE_INDEX
    probabilities, known = pixels.softmax(dim=1)[valid], flat[valid]
    terms: list[Tensor] = []
    for index in known.unique().tolist():
        truth = (known == index).to(probabilities.dtype)
        errors = (truth - probabilities[:, index]).abs()
        order = errors.detach().argsort(descending=True)
        terms.append((errors[order] * old_steps(truth[order])).sum())
    return torch.stack(terms).mean()


def old_steps(sorted_truth: Tensor) -> Tensor:
    """What the Jaccard loss rises by at each pixel of this order, (N,)."""
    total = sorted_truth.sum()
    intersection = total - sorted_truth.cumsum(0)
    union = total + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    return torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
