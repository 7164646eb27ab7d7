"""Losses: the report's equations, absent classes, ignored pixels."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from lisa.config import LossConfig
from lisa.errors import InputError
from lisa.losses import SegmentationLoss, cross_entropy, dice, lovasz


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.randint(0, 4, (2, 5, 6), dtype=torch.uint8)
    target[0, :2] = 255
    return torch.randn(2, 19, 5, 6), target


def dice_by_definition(logits: torch.Tensor, target: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Eq. 2 class by class on one-hot targets."""
    valid = (target != 255).float()
    probabilities = logits.softmax(1)
    terms: list[torch.Tensor] = []
    for index in target[target != 255].unique():
        x = (target == index).float()
        y = probabilities[:, int(index)] * valid
        terms.append(1 - 2 * (x * y).sum() / (x.sum() + y.sum() + smoothing))
    return torch.stack(terms).mean()


def test_cross_entropy_is_torchs():
    logits, target = batch()
    assert torch.allclose(
        cross_entropy(logits, target), F.cross_entropy(logits, target.long(), ignore_index=255)
    )


def test_dice_is_equation_2_over_the_classes_present():
    logits, target = batch()
    assert torch.allclose(dice(logits, target, 1e-4), dice_by_definition(logits, target, 1e-4))


def test_dice_of_millions_of_pixels_is_not_rounded():
    """Summed one after another in float32 it would be 1 % too low."""
    logits = torch.tensor([0.97, 0.03]).log().view(1, 2, 1, 1).expand(1, 2, 2000, 3000)
    target = torch.zeros(1, 2000, 3000, dtype=torch.uint8)
    assert dice(logits, target, 1e-4).item() == pytest.approx(1 - 2 * 0.97 / 1.97, abs=1e-6)


def test_dice_of_a_perfect_prediction_is_zero():
    _, target = batch()
    known = torch.where(target == 255, 0, target).long()
    logits = 100 * F.one_hot(known, 19).permute(0, 3, 1, 2).float()
    assert dice(logits, target, 1e-4) < 1e-5


def test_everything_ignored_gives_zero_and_finite_gradients():
    logits = torch.randn(1, 19, 4, 4, requires_grad=True)
    every_term = SegmentationLoss(LossConfig(lovasz=1))
    loss = every_term(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_gradcheck():
    logits, target = batch()
    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(cross_entropy, (leaf, target))


def test_dice_gradient():
    logits, target = batch()
    leaf, reference = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    dice(leaf, target, 1e-4).backward()
    dice_by_definition(reference, target, 1e-4).backward()
    assert leaf.grad is not None
    assert reference.grad is not None
    assert torch.allclose(leaf.grad, reference.grad, atol=1e-7)


def test_weighted_sum():
    logits, target = batch()
    loss = SegmentationLoss(LossConfig(cross_entropy=0.5, dice=2))(logits, target)
    assert torch.allclose(loss, 0.5 * cross_entropy(logits, target) + 2 * dice(logits, target, 1e-4))
    with pytest.raises(InputError, match="one must be above 0"):
        LossConfig(cross_entropy=0, dice=0)


def test_bf16_logits_are_summed_in_float32():
    logits, target = batch()
    loss = SegmentationLoss(LossConfig())(logits.bfloat16(), target)
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, SegmentationLoss(LossConfig())(logits, target), rtol=1e-2)


def lovasz_by_definition(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The Lovasz extension of the Jaccard loss, one pixel at a time (Berman et al., Eq. 8 and 9)."""
    valid = target != 255
    probabilities = logits.softmax(1).movedim(1, -1)[valid]
    known = target[valid].long()
    terms: list[torch.Tensor] = []
    for index in known.unique():
        truth = known == index
        errors = (truth.float() - probabilities[:, index]).abs()
        chosen = torch.zeros_like(truth)
        loss, before = torch.zeros(()), torch.zeros(())
        for pixel in errors.argsort(descending=True):
            chosen[pixel] = True  # the set of mispredicted pixels so far
            wrong = (truth & ~chosen).sum() / (truth | chosen).sum()
            jaccard = 1 - wrong
            loss = loss + errors[pixel] * (jaccard - before)
            before = jaccard
        terms.append(loss)
    return torch.stack(terms).mean()


def test_lovasz_is_the_extension_of_the_jaccard_loss():
    logits, target = batch()
    assert torch.allclose(lovasz(logits, target), lovasz_by_definition(logits, target), atol=1e-5)


@pytest.mark.parametrize("loss", [lambda x, y: dice(x, y, 1e-4), lovasz])
def test_gradcheck_in_float64(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
    logits, target = batch()
    leaf = logits[:1, :, 2:4, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(loss, (leaf, target[:1, 2:4, :3]))


def test_all_terms_are_finite_for_extreme_bf16_logits():
    logits = torch.zeros(1, 19, 2, 2, dtype=torch.bfloat16)
    logits[:, 3] = 300
    target = torch.tensor([[[3, 4], [255, 5]]], dtype=torch.uint8)
    leaf = logits.requires_grad_()
    loss = SegmentationLoss(LossConfig(lovasz=1))(leaf, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
