"""Lovasz-softmax, exact and without host synchronisation (Berman et al., https://arxiv.org/abs/1705.08790).

Each class sorts its errors, the largest first. An error's weight is its step: what the Jaccard loss rises by
when this pixel joins the mispredicted ones. Of the class's T pixels ``left`` come later in the order, and
``union`` is T plus the other classes' pixels up to here. Then a step is

    1 / union                            at a pixel of the class,
    left / (union * (union - 1))         at a pixel of another class.

The paper's Algorithm 1 subtracts neighbouring Jaccard losses instead. Near 1 float32 cannot do that: at ten
million pixels a quarter of the gradient is wrong.

Behind the last pixel of the class all steps are 0. So pixels of other classes whose error is smaller than the
smallest one in the class need not be sorted. The CPU leaves them out: nine in ten where training begins. A
trained network is sure of some pixels of each class. Then the CPU counts errors below 1/64 in buckets instead
of sorting them. A step reaches the logits times its error, so that errors this small may change places with
their next neighbours: that changes the gradient by less than 1e-5 of its norm.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lisa.labels import IGNORE_INDEX
from lisa.models.kernels.fast_path import eager_on_cpu

AT_ONCE = 2**23
"""Errors that are sorted together on a GPU, whole classes of them; each takes some 50 bytes meanwhile."""

SMALL = 2.0**-6
"""Errors below this may be counted in buckets instead of sorted."""

BUCKETS = 2**15
"""Of equal width in an error's root: the widest is 2^-20 wide, the narrowest 2^-36."""

_PER_ROOT = BUCKETS * SMALL**-0.5

BLOCK = 2**16
"""Products that are summed in float32; longer sums drift by 1e-5 at ten million pixels."""

_KEY, _HALF = np.dtype("<i8"), np.dtype("<i4")
"""A key to sort by. Its upper half is the error's bits, whose order is the error's; below is the pixel."""

_OWN = np.int32(-(2**31))
"""The lower half's sign bit says that the pixel is of the class."""


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
    at_once = max(1, AT_ONCE // max(1, pixels))
    chunks = [range(start, min(start + at_once, classes)) for start in range(0, classes, at_once)]
    losses, steps, present = zip(*(_classes(probabilities, target, chunk) for chunk in chunks), strict=True)
    share = 1 / torch.cat(present).sum().clamp(min=1)
    return torch.cat(losses).sum() * share, (torch.cat(steps) * share).t().contiguous()


def _classes(probabilities: Tensor, target: Tensor, chunk: range) -> tuple[Tensor, Tensor, Tensor]:
    """Of K classes: losses (K,), gradients (K,N), and whether they occur, (K,)."""
    ids = torch.arange(chunk.start, chunk.stop, device=target.device)
    own = target == ids[:, None]
    rows = probabilities[:, chunk.start : chunk.stop].t()
    errors = torch.where(own, 1 - rows, rows)
    # Ignored pixels come last, where all steps are 0.
    order = _largest_first(torch.where(target != IGNORE_INDEX, errors, -1.0))
    sorted_own = own.gather(1, order)
    # One sum over all rows, less what came before each: CUDA gives a long row of several to one thread block.
    hits = sorted_own.flatten().cumsum(0, dtype=torch.int32).view_as(order)
    hits = hits - (hits[:, :1] - sorted_own[:, :1].int())
    total = hits[:, -1:]
    rank = torch.arange(1, len(target) + 1, dtype=torch.int32, device=target.device)
    union = (total + rank - hits).to(errors.dtype)
    step = torch.where(sorted_own, 1 / union, (total - hits) / union / (union - 1).clamp(min=1))
    step = torch.empty_like(step).scatter_(1, order, step)
    losses = torch.where(step > 0, errors * step, 0).sum(1)
    return losses, torch.where(own, -step, step), total[:, 0] > 0


def _largest_first(values: Tensor) -> Tensor:
    """The order of each row's (K,N) numbers >= 0 or -1, of float32 or float64.

    Their bits have the same order read as integers, which torch sorts several times as fast.
    """
    bits = values.view(torch.int32 if values.dtype == torch.float32 else torch.int64)
    return bits.argsort(descending=True)


def _in_numpy(probabilities: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient (N,C) of float32 on the CPU, where NumPy sorts ten times as fast as torch."""
    rows = torch.where(target != IGNORE_INDEX, probabilities.t(), 0).contiguous()
    loss, gradient = loss_and_gradient(rows, target)
    return probabilities.new_tensor(loss), gradient.t().contiguous()


def loss_and_gradient(rows: Tensor, target: Tensor, weight: float = 1.0) -> tuple[float, Tensor]:
    """``weight`` times the loss of probabilities (C,N), and its gradient (C,N); float32, on the CPU.

    Probabilities must be 0 where ``target`` (N,) is ``IGNORE_INDEX``. They are the same afterwards.
    """
    gradient = torch.zeros_like(rows)
    ids = target.to(torch.uint8).numpy()
    by_class = np.argsort(ids, kind="stable")
    counts = np.bincount(ids, minlength=256)
    ends = counts.cumsum()
    share = np.float32(weight / max(1, np.count_nonzero(counts[: len(rows)])))
    work = _Work(len(target), share)
    loss = 0.0
    for row, out, count, end in zip(rows.numpy(), gradient.numpy(), counts, ends, strict=False):
        if count > 0:
            loss += work.one_class(row, by_class[end - count : end], out)
    return loss, gradient


class _Work:
    """Losses and gradients of one class after another, all times ``share``.

    Its buffers serve all of them: the page faults of fresh ones cost as much as the arithmetic.
    """

    def __init__(self, pixels: int, share: np.float32) -> None:
        self.share = share
        self.numbers = np.arange(pixels, dtype=np.int32)
        self.keys = np.empty(pixels, _KEY)
        self.roots = np.empty(pixels, np.float32)
        self.buckets = np.empty(pixels, np.intp)

    def one_class(self, row: NDArray[np.float32], own: NDArray[np.intp], out: NDArray[np.float32]) -> float:
        """Writes the gradient of a class's probabilities ``row`` (N,) to ``out`` (N,); returns the loss.

        ``own`` (T,) are the class's pixels. ``row`` is 0 at ignored pixels, and at ``own`` meanwhile: errors
        of 0 in other classes have no gradient. ``out`` must be 0.
        """
        kept = row[own]
        row[own] = 0
        loss = self._one_class(row, np.maximum(1 - kept, 0), own, out)
        row[own] = kept
        return loss

    def _one_class(
        self,
        row: NDArray[np.float32],
        own_errors: NDArray[np.float32],
        own: NDArray[np.intp],
        out: NDArray[np.float32],
    ) -> float:
        smallest = own_errors.min()
        others = np.flatnonzero(row >= max(SMALL, smallest))
        if not smallest < SMALL:
            return self._sort(len(own), own, own_errors, others, row[others], out)
        large = own_errors >= SMALL
        loss = self._count(len(own), len(others), row, own[~large], own_errors[~large], out)
        return loss + self._sort(len(own), own[large], own_errors[large], others, row[others], out)

    def _sort(
        self,
        total: int,
        own: NDArray[np.intp],
        own_errors: NDArray[np.float32],
        others: NDArray[np.intp],
        other_errors: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> float:
        """Sorts the pixels of the largest errors; writes their gradients, returns their loss.

        The rest of the class's ``total`` pixels have smaller errors.
        """
        keys = self.keys[: len(own) + len(others)]
        pixels, bits = keys.view(_HALF)[0::2], keys.view(_HALF)[1::2]
        pixels[: len(own)], pixels[len(own) :] = own, others
        pixels[: len(own)] |= _OWN
        bits[: len(own)], bits[len(own) :] = own_errors.view(np.int32), other_errors.view(np.int32)
        keys.sort()  # the smallest errors come first
        is_own = pixels < 0
        left = (
            torch.from_numpy(is_own).cumsum(0, dtype=torch.int32).numpy()
        )  # NumPy's takes four times as long
        union = left - self.numbers[: len(keys)]
        union += total + len(others)
        rounded = union.astype(np.float32)
        rounded_less = rounded - 1  # of the class's own pixels this is the union: they are in ``left``
        left += total - len(own)
        steps = left.astype(np.float32)
        steps *= self.share
        steps /= rounded
        steps /= rounded_less
        hits = np.flatnonzero(is_own)
        steps[hits] = self.share / rounded_less[hits]
        loss = _dot(bits.astype(np.int32).view(np.float32), steps)
        steps[hits] *= -1
        out[pixels & ~_OWN] = steps
        return loss

    def _count(
        self,
        total: int,
        larger: int,
        row: NDArray[np.float32],
        own: NDArray[np.intp],
        own_errors: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> float:
        """Writes the gradients of all pixels with errors below SMALL, without sorting; returns their loss.

        ``own`` are the class's of its ``total`` pixels with such errors; ``larger`` pixels of other classes
        have larger ones. The errors of a bucket count as equal: its own pixels come first, and the others
        share the sum of their steps, which has a closed form too.
        """
        np.fmin(row, SMALL, out=self.roots)
        np.sqrt(self.roots, out=self.roots)
        self.roots *= _PER_ROOT
        np.copyto(self.buckets, self.roots, casting="unsafe")
        own_buckets = (np.sqrt(own_errors) * np.float32(_PER_ROOT)).astype(np.intp)
        own_counts = np.bincount(own_buckets, minlength=BUCKETS)
        other_counts = np.bincount(self.buckets, minlength=BUCKETS + 1)[:BUCKETS]
        left = own_counts.cumsum() - own_counts  # of the class in smaller buckets
        before = total + larger + other_counts.sum() - other_counts.cumsum()
        other_steps = np.zeros(BUCKETS + 1, np.float32)  # larger errors get 0 here; they are sorted
        other_steps[:BUCKETS] = self.share * left / (before * (before + other_counts).astype(np.float64))
        np.take(other_steps, self.buckets, out=out, mode="clip")  # the default would make a copy
        own_steps = (self.share / before).astype(np.float32)[own_buckets]
        loss = _dot(row, out) + _dot(own_errors, own_steps)
        out[own] = -own_steps
        return loss


def _dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The sum of (N,) products."""
    starts = range(0, len(left), BLOCK)
    return sum(float(np.dot(left[start : start + BLOCK], right[start : start + BLOCK])) for start in starts)
