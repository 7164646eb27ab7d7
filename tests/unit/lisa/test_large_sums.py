"""Twenty million pixels, beyond the 2^24 to which float32 counts: sums over pixels have their right value."""

import math
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from lisa.config import LossConfig
from lisa.evaluation.metrics import Tally
from lisa.labels.celebamask import CELEBAMASK
from lisa.losses import SegmentationLoss, cross_entropy, dice, lovasz
from lisa.models.kernels.fast_path import plain_kernels

HEIGHT, WIDTH, IGNORED_ROWS = 4000, 5000, 500
P = 0.97
"""The probability of class 0 everywhere."""

Term = Callable[[Tensor, Tensor], Tensor]
TERMS: dict[str, tuple[Term, float]] = {
    "cross entropy": (cross_entropy, -math.log(P)),
    "dice": (lambda x, y: dice(x, y, 1e-4), 1 - 2 * P / (P + 1)),
    "lovasz": (lovasz, 1 - P),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("fast", [True, False])
def test_a_loss_of_twenty_million_pixels(name: str, fast: bool):
    """All of class 0, predicted alike; an eighth ignored."""
    logits = torch.tensor([P, 1 - P]).log().view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH)
    target = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    target[:, :IGNORED_ROWS] = 255
    term, expected = TERMS[name]
    with nullcontext() if fast else plain_kernels():
        # 1 - p alone loses 4e-6 of itself here; counts that stop at 2^24 would lose 4 %.
        assert term(logits, target).item() == pytest.approx(expected, rel=5e-5)


@pytest.mark.slow
def test_the_loss_of_training_and_its_gradient_at_twenty_million_pixels():
    """All three terms in one pass. The sum of the gradients is the derivative by the logit of P."""
    logits = torch.tensor([P, 1 - P]).log().view(1, 2, 1, 1).repeat(1, 1, HEIGHT, WIDTH).requires_grad_()
    target = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    target[:, :IGNORED_ROWS] = 255
    loss = SegmentationLoss(LossConfig(dice_lambda=1e-4, lovasz=1))(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(
        sum(TERMS[name][1] for name in ("cross entropy", "dice", "lovasz")), rel=5e-5
    )
    expected = -(1 - P) * (1 + 2 * P / (P + 1) ** 2 + P)
    assert gradient[0, 0].double().sum().item() == pytest.approx(expected, rel=5e-5)
    assert gradient[0, 1].double().sum().item() == pytest.approx(-expected, rel=5e-5)


@pytest.mark.slow
def test_twenty_million_pixels_are_counted_to_the_last():
    """The counts of an evaluation; half of the picture is right but for one pixel."""
    truth = torch.zeros(HEIGHT, WIDTH, dtype=torch.uint8)
    truth[-1, -1] = 255
    prediction = truth.clone()
    prediction[0, 0] = 1
    tally = Tally(1, CELEBAMASK)
    tally.add(0, prediction, truth)
    assert tally.confusion[0, 0] == HEIGHT * WIDTH - 2
    assert tally.confusion[0, 1] == 1
    assert tally.confusion.sum() == HEIGHT * WIDTH - 1
    assert tally.regions[0, :, 0].tolist() == [HEIGHT * WIDTH - 2, HEIGHT * WIDTH - 1, HEIGHT * WIDTH - 2]
