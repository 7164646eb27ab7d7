"""Lovasz-softmax, exact and without host synchronisation (Berman et al., https://arxiv.org/abs/1705.08790).

Each class sorts its errors, the largest first. An error's weight is its step: what the Jaccard loss rises by
when this pixel joins the mispredicted ones. Of the class's T pixels ``left`` come later in the order, and
``union`` is T plus the other classes' pixels up to here. Then a step is

    1 / union                            at a pixel of the class,
    left / (union * (union - 1))         at a pixel of another class.

The paper's Algorithm 1 subtracts neighbouring Jaccard losses instead. Near 1 float32 cannot do that: at ten
million pixels a quarter of the gradient is wrong.

Behind the last pixel of the class all steps are 0. So pixels of other classes whose error is smaller than the
smallest one in the class need not be sorted. The CPU leaves them out: nine in ten where training begins. When
a class has pixels of hardly any error, the CPU counts errors below 2^-10 in buckets instead: they are told
apart to 2^-22, which is as far as float32 knows 1 - p behind a softmax.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lisa.labels import IGNORE_INDEX
from lisa.models.kernels.fast_path import eager_on_cpu

RESOLUTION = 2.0**-24
"""Half a unit in the last place of float32 below 1: 1 - p can't tell smaller errors from 0."""

SMALL = 2.0**-10
"""Errors below this are told apart to 2^-22 alone, and counted in buckets instead of sorted."""

_SHIFT = 23 - 12
_LOWEST = np.float32(RESOLUTION).view(np.int32)
BUCKETS = int(np.float32(SMALL).view(np.int32) - _LOWEST) >> _SHIFT
"""4096 for each halving of the error."""

_KEY, _HALF = np.dtype("<i8"), np.dtype("<i4")
"""A key to sort by. Its upper half is the error's bits, whose order is the error's; below is the pixel."""


def lovasz_softmax(probabilities: Tensor, target: Tensor) -> Tensor:
    """(N,C) float32 or float64 and (N,) integer ids to a scalar: the mean over the classes that occur, or 0.

    Pixels of ``IGNORE_INDEX`` neither train nor count. Equal errors may come in any order: the loss is the
    same, and each order gives a subgradient.
    """
    return _LovaszSoftmax.apply(probabilities, target)  # pyright: ignore[reportReturnType]


class _LovaszSoftmax(torch.autograd.Function):
    """Steps don't depend on errors, only on their order: the forward pass knows the gradient."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, target: Tensor) -> Tensor:
        in_numpy = eager_on_cpu(probabilities) and probabilities.dtype == torch.float32
        loss, gradient = (_in_numpy if in_numpy else _in_torch)(probabilities.detach(), target)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_outputs[0], None


def _in_torch(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient (N,C) on any device, in operations whose shapes are known beforehand."""
    pixels, classes = probabilities.shape
    rank = torch.arange(1, pixels + 1, dtype=torch.int32, device=target.device)
    valid = target != IGNORE_INDEX
    losses: list[Tensor] = []
    steps: list[Tensor] = []
    present: list[Tensor] = []
    for index in range(classes):
        own = target == index
        # Ignored pixels come last, where all steps are 0.
        errors = torch.where(own, 1 - probabilities[:, index], probabilities[:, index])
        order = _largest_first(torch.where(valid, errors, -1.0))
        sorted_own = own[order]
        hits = sorted_own.cumsum(0, dtype=torch.int32)
        total = hits[-1]
        union = (total + rank - hits).to(errors.dtype)
        step = torch.where(sorted_own, 1 / union, (total - hits) / union / (union - 1).clamp(min=1))
        step = torch.empty_like(step).scatter_(0, order, step)
        losses.append(torch.where(step > 0, errors * step, 0).sum())
        steps.append(torch.where(own, -step, step))
        present.append(total > 0)
    share = 1 / torch.stack(present).sum().clamp(min=1)
    return torch.stack(losses).sum() * share, torch.stack(steps, dim=1) * share


def _largest_first(values: Tensor) -> Tensor:
    """The order of (N,) numbers >= 0 or -1, of float32 or float64.

    Their bits have the same order read as integers, which torch sorts several times as fast.
    """
    bits = values.view(torch.int32 if values.dtype == torch.float32 else torch.int64)
    return bits.argsort(descending=True)


def _in_numpy(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient (N,C) of float32 on the CPU, where NumPy sorts ten times as fast as torch."""
    rows = probabilities.t().contiguous()
    if rows.data_ptr() == probabilities.data_ptr():
        rows = rows.clone()
    gradient = torch.zeros_like(rows)
    ids = target.to(torch.uint8).numpy()
    by_class = np.argsort(ids, kind="stable")
    counts = np.bincount(ids, minlength=256)
    ends = counts.cumsum()
    share = np.float32(1 / max(1, np.count_nonzero(counts[: len(rows)])))
    rows.numpy()[:, by_class[ends[IGNORE_INDEX - 1] :]] = -1
    loss = 0.0
    for row, out, count, end in zip(rows.numpy(), gradient.numpy(), counts, ends, strict=False):
        if count > 0:
            loss += _one_class(row, by_class[end - count : end], out, share)
    return probabilities.new_tensor(loss), gradient.t().contiguous()


def _one_class(
    row: NDArray[np.float32], own: NDArray[np.int64], out: NDArray[np.float32], share: np.float32
) -> float:
    """Writes the gradient of a class's probabilities ``row`` (N,) to ``out`` (N,); returns the loss.

    ``own`` (T,) are the class's pixels. Both are times ``share``. Overwrites ``row`` at ``own``; what is
    below 0 is ignored. ``out`` must be 0.
    """
    own_errors = 1 - row[own]
    row[own] = -1
    smallest = own_errors.min()
    sort_own = slice(None) if not smallest < SMALL else own_errors >= SMALL
    others = np.flatnonzero(row >= max(SMALL, smallest))
    steps = _Steps(len(own), share)
    loss = 0.0
    if smallest < SMALL:
        loss += steps.count_small(row, own, own_errors, out, len(others))
    pixels = own[sort_own]
    return loss + steps.sort_large(pixels, own_errors[sort_own], others, row[others], out)


class _Steps(NamedTuple):
    """Steps of a class of ``total`` pixels, times ``share``."""

    total: int
    share: np.float32

    def sort_large(
        self,
        own: NDArray[np.int64],
        own_errors: NDArray[np.float32],
        others: NDArray[np.int64],
        other_errors: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> float:
        """Sorts the pixels with the largest errors; writes their gradients, returns their loss."""
        keys = np.empty(len(own) + len(others), _KEY)
        lower, upper = keys.view(_HALF)[0::2], keys.view(_HALF)[1::2]
        upper[: len(own)], upper[len(own) :] = own_errors.view(np.int32), other_errors.view(np.int32)
        lower[: len(own)], lower[len(own) :] = own, others
        lower[: len(own)] |= np.int32(-(2**31))  # the sign bit says: of the class
        keys.sort()
        lower, upper = lower[::-1], upper[::-1]
        is_own = lower < 0
        hits = np.cumsum(is_own, dtype=np.int32)
        union = np.arange(self.total + 1, self.total + len(keys) + 1, dtype=np.int32) - hits
        rounded = union.astype(np.float32)
        steps = (self.total - hits).astype(np.float32) / rounded / np.maximum(union - 1, 1).astype(np.float32)
        np.divide(np.float32(1), rounded, out=steps, where=is_own)
        steps *= self.share
        errors = upper.astype(np.int32).view(np.float32)
        np.negative(steps, out=steps, where=is_own)
        out[lower & np.int32(2**31 - 1)] = steps
        return float(np.dot(np.abs(steps).astype(np.float64), errors.astype(np.float64)))

    def count_small(
        self,
        row: NDArray[np.float32],
        own: NDArray[np.int64],
        own_errors: NDArray[np.float32],
        out: NDArray[np.float32],
        larger: int,
    ) -> float:
        """Writes the gradients of all pixels with errors below SMALL, without sorting; returns their loss.

        ``larger`` pixels of other classes have larger errors. The errors of a bucket count as equal: its own
        pixels come first, and the others share the sum of their steps, which has a closed form too.
        """
        buckets, own_buckets = _buckets(row), _buckets(own_errors)
        own_counts, other_counts = (
            np.bincount(own_buckets, minlength=BUCKETS + 1),
            np.bincount(buckets, minlength=BUCKETS + 1),
        )
        left = own_counts.cumsum() - own_counts  # of the class in smaller buckets
        before = self.total + larger + other_counts[:BUCKETS].sum() - other_counts[:BUCKETS].cumsum()
        other_steps = (
            self.share * left[:BUCKETS] / (before * (before + other_counts[:BUCKETS]).astype(np.float64))
        )
        own_steps = self.share / before
        # Larger errors get 0 here; they are sorted.
        np.take(np.append(other_steps, 0).astype(np.float32), buckets, out=out)
        loss = float(np.dot(row, out))
        steps = np.append(own_steps, 0).astype(np.float32)[own_buckets]
        out[own] = -steps
        return loss + float(np.dot(own_errors, steps))


def _buckets(errors: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) to buckets 0 (below RESOLUTION) to BUCKETS - 1, or BUCKETS from SMALL on."""
    bits = errors.view(np.int32) - _LOWEST
    bits >>= _SHIFT
    return np.clip(bits, 0, BUCKETS).astype(np.intp)
