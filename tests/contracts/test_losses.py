"""The contract of every term of the loss: its definition, value and gradient, ignored pixels, batches."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lisa.config import LossConfig
from lisa.labels import IGNORE_INDEX
from lisa.losses import SegmentationLoss

PRESENT = (0, 3, 4, 7, 18)
ABSENT = 9


def batch(pictures: int = 3) -> tuple[Tensor, Tensor]:
    """Logits (B,19,5,6) in float64 and targets of five classes; a third of the pixels is ignored."""
    target = torch.tensor(PRESENT)[torch.randint(0, len(PRESENT), (pictures, 5, 6))]
    target[torch.rand(target.shape) < 0.3] = IGNORE_INDEX
    target[:, 0, 0] = PRESENT[0]
    return torch.randn(pictures, 19, 5, 6, dtype=torch.float64), target.to(torch.uint8)


def pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The counted pixels' logits (N,19) and ids (N,)."""
    valid = target != IGNORE_INDEX
    return logits.movedim(1, -1)[valid], target[valid].long()


class LossContract:
    """``config`` switches one term on; ``definition`` is its value written out, which autograd can follow."""

    config: LossConfig
    of_means = False
    """Whether a batch's loss is the mean of its pictures', by counted pixels."""

    def definition(self, logits: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return SegmentationLoss(self.config)(logits, target)

    def gradient(self, loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor) -> Tensor:
        leaf = logits.clone().requires_grad_()
        loss(leaf, target).backward()
        assert leaf.grad is not None
        return leaf.grad

    def test_value_and_gradient_are_the_definitions(self):
        logits, target = batch()
        assert torch.allclose(self.loss(logits, target), self.definition(logits, target), rtol=1e-6)
        ours, theirs = (self.gradient(each, logits, target) for each in (self.loss, self.definition))
        assert theirs.abs().max() > 1e-4
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-9)

    def test_float32_is_near(self):
        logits, target = batch()
        exact = self.loss(logits, target)
        assert self.loss(logits.float(), target).item() == pytest.approx(exact.item(), rel=1e-5)

    def test_ignored_pixels_neither_count_nor_learn(self):
        logits, target = batch()
        ignored = (target == IGNORE_INDEX)[:, None]
        changed = torch.where(ignored, torch.randn_like(logits) * 9, logits)
        assert torch.allclose(self.loss(changed, target), self.loss(logits, target), rtol=1e-12)
        assert self.gradient(self.loss, logits, target)[ignored.expand_as(logits)].abs().max() == 0

    def test_nothing_counted_is_zero_and_teaches_nothing(self):
        logits, target = batch()
        nothing = torch.full_like(target, IGNORE_INDEX)
        assert self.loss(logits, nothing) == 0
        assert self.gradient(self.loss, logits, nothing).abs().max() == 0

    def test_an_absent_class_is_no_term(self):
        """A class that is neither there nor predicted changes nothing, and no division by 0 shows."""
        logits, target = batch()
        logits[:, ABSENT] = -1000
        without = torch.cat([logits[:, :ABSENT], logits[:, ABSENT + 1 :]], dim=1)
        shifted = torch.where((target > ABSENT) & (target != IGNORE_INDEX), target - 1, target)
        assert torch.allclose(self.loss(logits, target), self.loss(without, shifted), rtol=1e-9)
        assert self.gradient(self.loss, logits, target).isfinite().all()

    def test_a_right_prediction_costs_nothing_and_a_wrong_one_much(self):
        _, target = batch()
        known = torch.where(target == IGNORE_INDEX, 0, target).long()
        right = 50 * F.one_hot(known, 19).movedim(-1, 1).double()
        assert 0 <= self.loss(right, target) < 1e-4
        assert self.loss(right.roll(1, dims=1), target) > 0.9

    def test_the_order_of_pictures_and_a_second_copy_change_nothing(self):
        logits, target = batch()
        once = self.loss(logits, target)
        assert torch.allclose(self.loss(logits.flip(0), target.flip(0)), once, rtol=1e-9)
        twice = self.loss(torch.cat([logits, logits]), torch.cat([target, target]))
        assert torch.allclose(twice, once, rtol=1e-4)  # Dice's smoothing weighs half as much

    def test_a_batch_is_the_mean_of_its_pictures_where_it_is_said_to_be(self):
        logits, target = batch()
        parts = zip(logits.split(1), target.split(1), strict=True)
        losses = torch.stack([self.loss(*part) for part in parts])
        weights = (target != IGNORE_INDEX).flatten(1).sum(1).double()
        mean = (losses * weights).sum() / weights.sum()
        assert torch.allclose(self.loss(logits, target), mean, rtol=1e-9) == self.of_means


class TestCrossEntropy(LossContract):
    config = LossConfig(cross_entropy=1, dice=0)
    of_means = True

    def definition(self, logits: Tensor, target: Tensor) -> Tensor:
        scores, truth = pixels(logits, target)
        return -scores.log_softmax(1)[range(len(truth)), truth].mean()


class TestDice(LossContract):
    config = LossConfig(cross_entropy=0, dice=1, dice_lambda=1e-4)

    def definition(self, logits: Tensor, target: Tensor) -> Tensor:
        """Eq. 2 of the report, class by class on one-hot targets."""
        scores, truth = pixels(logits, target)
        terms: list[Tensor] = []
        for index in truth.unique():
            x, y = (truth == index).double(), scores.softmax(1)[:, index]
            terms.append(1 - 2 * (x * y).sum() / (x.sum() + y.sum() + 1e-4))
        return torch.stack(terms).mean()


class TestLovasz(LossContract):
    config = LossConfig(cross_entropy=0, dice=0, lovasz=1)

    def definition(self, logits: Tensor, target: Tensor) -> Tensor:
        """The Lovasz extension of the Jaccard loss, one pixel at a time (Berman et al., Eq. 8 and 9)."""
        scores, known = pixels(logits, target)
        terms: list[Tensor] = []
        for index in known.unique():
            truth = known == index
            errors = (truth.double() - scores.softmax(1)[:, index]).abs()
            chosen = torch.zeros_like(truth)
            steps, before = torch.zeros_like(errors), 0.0
            for pixel in errors.argsort(descending=True):
                chosen[pixel] = True  # the mispredicted pixels so far
                jaccard = 1 - ((truth & ~chosen).sum() / (truth | chosen).sum()).item()
                steps[pixel], before = jaccard - before, jaccard
            terms.append((errors * steps).sum())
        return torch.stack(terms).mean()
