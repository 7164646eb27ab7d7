"""The losses against their former formulas: time, value, and the gradient against float64."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib, seconds_per_call
from benchmarks.gpu.old_lovasz import old_lovasz
from benchmarks.gpu.steps import real_batch
from lisa.labels import NUM_CLASSES
from lisa.losses import cross_entropy, dice, lovasz

SMOOTHING = 1e-4

Loss = Callable[[Tensor, Tensor], Tensor]


def old_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Summed by torch itself, which gives all pixels to one thread block of a GPU."""
    pixels = logits.movedim(1, -1).flatten(end_dim=-2)
    return F.cross_entropy(pixels, target.flatten().long(), ignore_index=255, reduction="sum") / (
        (target != 255).sum().clamp(min=1)
    )


def old_dice(logits: Tensor, target: Tensor) -> Tensor:
    """Summed by class with index_add in float64."""
    pixels, flat = logits.movedim(1, -1).flatten(end_dim=-2), target.flatten().long()
    valid = flat != 255
    known = torch.where(valid, flat, 0)
    probabilities = pixels.softmax(dim=1) * valid[:, None]
    of_truth = probabilities.gather(1, known[:, None])[:, 0]
    zeros = probabilities.new_zeros(NUM_CLASSES, dtype=torch.float64)
    intersection = zeros.index_add(0, known, of_truth.double()).to(probabilities.dtype)
    truth = zeros.index_add(0, known, valid.double()).to(probabilities.dtype)
    loss = 1 - 2 * intersection / (probabilities.sum(0) + truth + SMOOTHING)
    present = truth > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


TERMS: dict[str, tuple[Loss, Loss]] = {
    "cross entropy": (cross_entropy, old_cross_entropy),
    "Dice": (lambda logits, target: dice(logits, target, SMOOTHING), old_dice),
    "Lovasz": (lovasz, old_lovasz),
}
"""Each term, and how it was computed before."""


def run(bench: Bench) -> None:
    """Rows by batch, term and formula."""
    size = bench.pick(512, 32)
    for count in bench.pick((8, 40), (2,)):
        torch.manual_seed(0)
        masks = real_batch(bench, size, count)[1].to(bench.device)
        logits = likely_logits(masks)
        for term in TERMS:
            if bench.no_time(f"{term}, batch {count}"):
                return
            compare(bench, term, logits, masks)


def compare(bench: Bench, term: str, logits: Tensor, masks: Tensor) -> None:
    """A row for each formula of the term."""
    device, formulas = bench.device, TERMS[term]
    # The former formulas are exact enough in float64: the referee of both.
    right = gradient_of(formulas[1], logits.double(), masks)
    for name, formula in zip(("now", "before"), formulas, strict=True):
        call = partial(gradient_of, formula, logits, masks)
        forget_peak(device)
        seconds = seconds_per_call(call, device, bench.pick(0.3, 0))
        peak = peak_gib(device)
        bench.row(
            f"forward and backward, {masks.shape[1]}x{masks.shape[2]}",
            batch=float(len(masks)),
            term=term,
            formula=name,
            ms=1000 * seconds,
            value=formula(logits, masks).item(),
            relative_error_of_gradient=((call() - right).norm() / right.norm()).item(),
            peak_GiB=peak,
        )


def likely_logits(masks: Tensor) -> Tensor:
    """(B,C,H,W) float32 of a network that is mostly right: the true class is ahead, smooth noise on top."""
    count, height, width = masks.shape
    coarse = torch.randn(count, NUM_CLASSES, max(1, height // 8), max(1, width // 8), device=masks.device)
    noise = F.interpolate(coarse, (height, width), mode="bilinear")
    noise = noise.contiguous(memory_format=torch.channels_last)
    known = masks.long().clamp(max=NUM_CLASSES - 1)[:, None]
    return noise.mul_(2).scatter_add_(1, known, torch.full_like(noise[:, :1], 4.0))


def gradient_of(formula: Loss, logits: Tensor, masks: Tensor) -> Tensor:
    """d loss / d logits."""
    leaf = logits.detach().requires_grad_()
    return torch.autograd.grad(formula(leaf, masks), leaf)[0]
