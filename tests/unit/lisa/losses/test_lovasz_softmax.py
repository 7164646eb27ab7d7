"""Lovasz-softmax: its gradient at any size, its two ways, ties, extremes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sync_helpers import host_syncs
from torch import Tensor

from lisa.losses import lovasz, lovasz_on_cpu
from lisa.losses import lovasz_softmax as module
from lisa.losses.lovasz_softmax import lovasz_softmax
from lisa.models.kernels.fast_path import plain_kernels


def on_any_device(probabilities: Tensor, target: Tensor) -> Tensor:
    with plain_kernels():
        return lovasz_softmax(probabilities, target)


WAYS = pytest.mark.parametrize("way", [lovasz_softmax, on_any_device])


def by_algorithm_1(probabilities: Tensor, target: Tensor) -> tuple[float, Tensor]:
    """Loss and gradient in float64, by differences of Jaccard losses as in the paper."""
    values, ids = probabilities.double().numpy(), target.numpy()
    gradient, losses = np.zeros_like(values), list[float]()
    valid = ids != 255
    for index in np.unique(ids[valid]):
        own = (ids == index)[valid]
        errors = np.where(own, 1 - values[valid, index], values[valid, index])
        order = np.lexsort((~own, -errors))
        total, hits = own.sum(), own[order].cumsum()
        jaccard = 1 - (total - hits) / (total + (~own[order]).cumsum())
        steps = np.empty_like(errors)
        steps[order] = np.diff(jaccard, prepend=0)
        losses.append(float(np.dot(errors, steps)))
        gradient[valid, index] = np.where(own, -steps, steps)
    return float(np.mean(losses)), torch.from_numpy(gradient / len(losses))


def through_softmax(logits: Tensor, gradient: Tensor) -> Tensor:
    """The gradient to logits (N,C) of a loss whose gradient to their probabilities this is, in float64."""
    probabilities = logits.double().softmax(1)
    return probabilities * (gradient - (probabilities * gradient).sum(1, keepdim=True))


def difference(ours: Tensor, theirs: Tensor) -> float:
    return ((ours.double() - theirs).norm() / theirs.norm()).item()


def make_pixels(count: int, classes: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits (N,C) and targets (N,): two in three pixels right, one in ten ignored."""
    logits = scale * torch.randn(count, classes)
    target = torch.where(torch.rand(count) < 0.6, logits.argmax(1), torch.randint(classes, (count,)))
    return logits, torch.where(torch.rand(count) < 0.1, 255, target)


@WAYS
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0, 40.0])
def test_loss_and_gradient_are_the_papers(way: Callable[[Tensor, Tensor], Tensor], scale: float):
    """From logits that say little to probabilities that are exactly 0 and 1."""
    logits, target = make_pixels(4000, 19, scale)
    target[target == 7] = 6  # an absent class
    leaf = logits.clone().requires_grad_()
    probabilities = leaf.softmax(1)
    loss = way(probabilities, target)
    loss.backward()
    expected, gradient = by_algorithm_1(probabilities.detach(), target)
    assert leaf.grad is not None
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert difference(leaf.grad, through_softmax(logits, gradient)) < 1e-5


@WAYS
@pytest.mark.parametrize("doubt", [0.2, 0.35], ids=["all right", "97 % right"])
@pytest.mark.parametrize("scale", [6.0, 10.0, 16.0])
def test_the_gradient_of_a_trained_network(
    way: Callable[[Tensor, Tensor], Tensor], scale: float, doubt: float
):
    """It is sure of pixels in each class. One class is rare.

    The CPU counts errors of 150,000 pixels in buckets, which the bound allows for.
    """
    target = torch.randint(11, (150_000,)).clamp(max=9)
    target[:40] = 10
    logits = scale * (F.one_hot(target, 11) + doubt * torch.randn(150_000, 11))
    leaf = logits.clone().requires_grad_()
    probabilities = leaf.softmax(1)
    loss = way(probabilities, target)
    (ours,) = torch.autograd.grad(loss, leaf)
    expected, gradient = by_algorithm_1(probabilities.detach(), target)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert difference(ours, through_softmax(logits, gradient)) < 2e-5


def test_classes_are_sorted_in_parts_that_fit_into_memory(monkeypatch: pytest.MonkeyPatch):
    logits, target = make_pixels(1000, 19)
    target[target == 7] = 6
    probabilities = logits.softmax(1).requires_grad_()

    def compute() -> tuple[Tensor, Tensor]:
        loss = on_any_device(probabilities, target)
        return loss, torch.autograd.grad(loss, probabilities)[0]

    whole = compute()
    monkeypatch.setattr(module, "AT_ONCE", 7500)
    for ours, theirs in zip(compute(), whole, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=0)


def check_gradient(way: Callable[[Tensor, Tensor], Tensor], count: int):
    """float32 against float64, a class on 35 % of the pixels."""
    logits = (3 * torch.randn(count, 2)).requires_grad_()
    target = (torch.rand(count) < 0.35).long()
    probabilities = logits.softmax(1)
    loss = way(probabilities, target)
    (ours,) = torch.autograd.grad(loss, logits)
    expected, gradient = by_algorithm_1(probabilities.detach(), target)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert difference(ours, through_softmax(logits.detach(), gradient)) < 1e-5


@WAYS
def test_the_gradient_at_millions_of_pixels(way: Callable[[Tensor, Tensor], Tensor]):
    """By differences in float32 5 % of it were wrong."""
    check_gradient(way, 2_500_000)


@pytest.mark.slow
@WAYS
def test_the_gradient_at_ten_million_pixels(way: Callable[[Tensor, Tensor], Tensor]):
    """By differences in float32 a quarter of it was wrong."""
    check_gradient(way, 10_500_000)


@WAYS
@pytest.mark.parametrize("times", [1, 50_000], ids=["sorted", "counted"])
def test_equal_errors_give_a_subgradient(way: Callable[[Tensor, Tensor], Tensor], times: int):
    """All errors 1/2: whatever the order, the loss is 1/2 and a class's steps sum to 1."""
    target = torch.tensor([0, 0, 1, 1, 1, 255]).repeat(times)
    probabilities = torch.full((6 * times, 2), 0.5, requires_grad=True)
    loss = way(probabilities, target)
    (gradient,) = torch.autograd.grad(loss, probabilities)
    assert loss.item() == pytest.approx(0.5, rel=1e-5)
    assert torch.allclose(gradient.abs().sum(0), torch.full((2,), 0.5))
    assert not gradient[target == 255].any()


@WAYS
@pytest.mark.parametrize("count", [200, 500_000], ids=["sorted", "counted"])
def test_a_network_that_is_quite_sure(way: Callable[[Tensor, Tensor], Tensor], count: int):
    """Probabilities of 0 and 1: own pixels lower the loss, others raise it, ignored ones do neither."""
    probabilities = F.one_hot(torch.randint(3, (count,)), 3).float().requires_grad_()
    target = torch.where(torch.rand(count) < 0.8, probabilities.argmax(1), torch.randint(3, (count,)))
    target = torch.where(torch.rand(count) < 0.1, 255, target)
    (gradient,) = torch.autograd.grad(way(probabilities, target), probabilities)
    assert not gradient[target == 255].any()
    own = target[:, None] == torch.arange(3)
    assert (gradient[own] < 0).all()
    assert (gradient[~own] >= 0).all()
    assert torch.allclose(3 * gradient.abs().double().sum(0), torch.ones(3).double(), rtol=1e-5)


def test_nan_among_many_pixels_stays_nan():
    probabilities = torch.rand(300_000, 2).softmax(1)
    probabilities[7, 1] = torch.nan
    assert lovasz_softmax(probabilities, torch.randint(2, (300_000,))).isnan()


@pytest.mark.parametrize(("pixels", "classes_counted"), [(65_536, 0), (150_000, 2)])
def test_classes_of_more_errors_than_are_sorted_are_counted(
    pixels: int, classes_counted: int, monkeypatch: pytest.MonkeyPatch
):
    """Of two classes that fill half of the pixels each, and are told apart badly."""
    made = list[int]()
    buckets = lovasz_on_cpu.Buckets.__call__

    def count(self: lovasz_on_cpu.Buckets, errors: Tensor, sums: Tensor | None = None) -> Tensor:
        made.append(len(errors))
        return buckets(self, errors, sums)

    monkeypatch.setattr(lovasz_on_cpu.Buckets, "__call__", count)
    lovasz_softmax(torch.rand(pixels, 2).softmax(1), torch.arange(pixels) % 2)
    assert made == [pixels, pixels // 2] * classes_counted


@WAYS
def test_nan_stays_nan(way: Callable[[Tensor, Tensor], Tensor]):
    """A diverged network must not look like a perfect one. Ignored pixels may say anything."""
    probabilities = torch.rand(50, 3).softmax(1)
    target = torch.randint(3, (50,))
    probabilities[7] = torch.nan
    assert way(probabilities, target).isnan()
    target[7] = 255
    assert way(probabilities, target).isfinite()


@WAYS
def test_nothing_is_waited_for(way: Callable[[Tensor, Tensor], Tensor]):
    probabilities = torch.rand(50, 3).softmax(1).requires_grad_()
    assert host_syncs(lambda: way(probabilities, torch.randint(3, (50,))).backward()) == []


def test_probabilities_are_left_as_they_were():
    logits = torch.randn(1, 3, 4, 4)
    one_class = logits[:, :1].softmax(1).flatten()[:, None]
    before = one_class.clone()
    lovasz_softmax(one_class, torch.zeros(16, dtype=torch.int64))
    assert torch.equal(one_class, before)
    assert lovasz(logits, torch.full((1, 4, 4), 255)) == 0
