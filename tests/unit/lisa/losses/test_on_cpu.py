"""The fused loss of the CPU against the terms one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lisa.config import LossConfig
from lisa.losses import SegmentationLoss
from lisa.losses.on_cpu import BLOCK, serves
from lisa.models.kernels.fast_path import plain_kernels

CONFIGS: dict[str, dict[str, Any]] = {
    "report": {},
    "best": {"lovasz": 1.0},
    "weighted": {"cross_entropy": 0.5, "dice": 0.2, "lovasz": 2.0, "dice_lambda": 1e-3},
    "Dice": {"cross_entropy": 0.0},
    "Lovasz": {"cross_entropy": 0.0, "dice": 0.0, "lovasz": 1.0},
}


def make(size: int = 40, classes: int = 7) -> tuple[Tensor, Tensor]:
    """Logits (2,C,size,size); targets of which class 3 is absent and some pixels are ignored."""
    logits = 2 * torch.randn(2, classes, size, size)
    target = torch.where(
        torch.rand(2, size, size) < 0.6, logits.argmax(1), torch.randint(classes, (2, size, size))
    )
    target = torch.where(target == 3, 2, target)
    return logits, torch.where(torch.rand(2, size, size) < 0.1, 255, target).to(torch.uint8)


def both(loss: SegmentationLoss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, target)
    (3 * value).backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_loss_and_gradient_are_those_of_the_terms(name: str, channels_last: bool) -> None:
    config = LossConfig(**CONFIGS[name])
    loss = SegmentationLoss(config)
    logits, target = make()
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    assert serves(config, logits)
    value, gradient = both(loss, logits, target)
    with plain_kernels():
        expected, expected_gradient = both(loss, logits, target)
    exact, exact_gradient = both(loss.double(), logits.double(), target)
    for kind in (value, expected):
        torch.testing.assert_close(kind.double(), exact, rtol=2e-6, atol=0)
    norm = exact_gradient.norm()
    assert (gradient - exact_gradient).norm() < 1e-5 * norm
    assert (expected_gradient - exact_gradient).norm() < 1e-5 * norm
    assert not gradient.movedim(1, -1)[target == 255].any()


def test_several_blocks_and_a_rest() -> None:
    logits, target = make(size=140)
    assert 2 * 140 * 140 % BLOCK
    assert 2 * BLOCK < 2 * 140 * 140
    loss = SegmentationLoss(LossConfig(lovasz=1.0))
    value, gradient = both(loss, logits, target)
    with plain_kernels():
        expected, expected_gradient = both(loss, logits, target)
    torch.testing.assert_close(value, expected, rtol=2e-6, atol=0)
    assert (gradient - expected_gradient).norm() < 1e-5 * expected_gradient.norm()


@pytest.mark.parametrize("fill", [255, 0])
def test_nothing_to_learn_from_and_one_class_alone(fill: int) -> None:
    logits, target = torch.randn(1, 5, 9, 9), torch.full((1, 9, 9), fill, dtype=torch.uint8)
    loss = SegmentationLoss(LossConfig(lovasz=1.0))
    value, gradient = both(loss, logits, target)
    with plain_kernels():
        expected, expected_gradient = both(loss, logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    assert gradient.any() == (fill == 0)


def test_bf16_logits_get_bf16_gradients_of_the_same_loss() -> None:
    logits, target = make()
    loss = SegmentationLoss(LossConfig(lovasz=1.0))
    value, gradient = both(loss, logits.bfloat16(), target)
    expected, expected_gradient = both(loss, logits.bfloat16().float(), target)
    assert torch.equal(value, expected)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), expected_gradient, rtol=1e-2, atol=1e-7)


def test_without_a_gradient_wanted_the_loss_is_the_same() -> None:
    logits, target = make()
    loss = SegmentationLoss(LossConfig(lovasz=1.0))
    with torch.no_grad():
        value = loss(logits, target)
    assert torch.equal(value, both(loss, logits, target)[0])


def poisoned(logits: Tensor) -> None:
    logits[0, 2, 5, 5] = float("nan")


def infinite(logits: Tensor) -> None:
    logits[0, 2, 5, 5] = float("inf")


@pytest.mark.parametrize("spoil", [poisoned, infinite])
def test_logits_that_are_no_numbers_give_a_loss_that_is_none(spoil: Callable[[Tensor], None]) -> None:
    logits, target = make()
    spoil(logits)
    value, gradient = both(SegmentationLoss(LossConfig(lovasz=1.0)), logits, target)
    assert not value.isfinite()
    assert not gradient.isfinite().all()


def test_cross_entropy_alone_goes_by_torchs_own_kernels() -> None:
    assert not serves(LossConfig(dice=0.0), torch.zeros(1, 3, 4, 4))
