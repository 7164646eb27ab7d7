"""Lovasz-softmax in float32 on the CPU: a class's largest errors are sorted, the rest counted in buckets.

NumPy sorts ten times as fast as torch, and counting is several times faster still. A step depends on how
many pixels came before. Among the largest errors each pixel changes it, so that their order must be right.
Later many thousands came before, and the few whose errors are nearly equal may come in any order: that
changes the gradient to a trained network's logits less than float32's 1 - p does.

:mod:`lisa.losses.lovasz_softmax` has the formulas.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SORTED = 2**17
"""Up to so many errors of a class are sorted, all of them."""

LARGEST = 2**14
"""Of more errors at most so many are sorted, the largest; the rest are counted."""

_OFFSET = 2.0**-8
"""Added to an error before its bits tell the bucket: so buckets of smaller errors are not narrower still."""

_KEY, _HALF = np.dtype("<i8"), np.dtype("<i4")
"""A key to sort by. Its upper half is the error's bits, whose order is the error's; below is the pixel."""

_OWN = np.int32(-(2**31))
"""The lower half's sign bit says that the pixel is of the class."""

_TINY = np.finfo(np.float32).tiny
"""Smaller probabilities are no errors: own and ignored pixels are 0 in the row, and are left out."""

_BLOCK = 2**16
"""Products that are summed in float32; longer sums drift by 1e-5 at ten million pixels."""


def loss_and_gradient(rows: Tensor, target: Tensor, weight: float = 1.0) -> tuple[float, Tensor]:
    """``weight`` times the loss of probabilities (C,N), and its gradient (C,N); float32.

    Probabilities must be 0 where ``target`` (N,) is ``IGNORE_INDEX``. They are the same afterwards.
    """
    gradient = torch.empty_like(rows)
    ids = target.to(torch.uint8).numpy()
    by_class = np.argsort(ids, kind="stable")
    counts = np.bincount(ids, minlength=256)
    ends = counts.cumsum()
    share = np.float32(weight / max(1, np.count_nonzero(counts[: len(rows)])))
    work = _Work(len(target), share)
    loss = 0.0
    for row, out, count, end in zip(rows.numpy(), gradient.numpy(), counts, ends, strict=False):
        if count == 0:
            out.fill(0)
        else:
            loss += work.one_class(row, by_class[end - count : end], out)
    return loss, gradient


class _Work:
    """Losses and gradients of one class after another, all times ``share``.

    Its buffers serve all of them: the page faults of fresh ones cost as much as the arithmetic.
    """

    def __init__(self, pixels: int, share: np.float32) -> None:
        self.share = share
        self.numbers = np.arange(SORTED, dtype=np.int32)
        self.keys = np.empty(SORTED, _KEY)
        self.buckets = Buckets(pixels)
        self.sums = torch.empty(pixels)

    def one_class(self, row: NDArray[np.float32], own: NDArray[np.intp], out: NDArray[np.float32]) -> float:
        """Writes the gradient of a class's probabilities ``row`` (N,) to ``out`` (N,); returns the loss.

        ``own`` (T,) are the class's pixels. ``row`` is 0 at ignored pixels, and at ``own`` meanwhile.
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
        loss, total = 0.0, len(own)
        before_the_last = row >= max(own_errors.min(), _TINY)
        if total + np.count_nonzero(before_the_last) > SORTED:
            loss, others, large = self._count(row, own, own_errors, out)
            own, own_errors = own[large], own_errors[large]
        else:
            out.fill(0)
            others = np.flatnonzero(before_the_last)
        return loss + self._sort(total, own, own_errors, others, row[others], out)

    def _count(
        self,
        row: NDArray[np.float32],
        own: NDArray[np.intp],
        own_errors: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> tuple[float, NDArray[np.intp], NDArray[np.bool_]]:
        """Writes the gradients of all but the largest errors, and returns their loss.

        And what is left to sort: pixels of other classes, and which of the class's own, (T,). The errors of a
        bucket count as equal. Its steps are the mean of two orders: the class's own pixels first, or last. In
        both the others share the sum of their steps, which has a closed form too. In the bucket of the
        smallest errors the own pixels come first, and the others have no step.
        """
        buckets = self.buckets(torch.from_numpy(row), self.sums)
        own_buckets = self.buckets(torch.from_numpy(own_errors))
        other_counts = torch.bincount(buckets, minlength=self.buckets.count)
        own_counts = torch.bincount(own_buckets, minlength=self.buckets.count)
        smaller = own_counts.cumsum(0)
        upto = other_counts.cumsum(0)
        from_the_bottom = (smaller + upto).numpy()
        first = 1 + int(np.searchsorted(from_the_bottom, from_the_bottom[-1] - LARGEST))

        # Bucket 0 holds own and ignored pixels too, whose probabilities are 0 here: no step for its others.
        other_counts[0] = 0
        before = (len(own) + upto[-1] - upto).float()
        own_first = float(self.share) / before
        own_last = float(self.share) / (before + other_counts)
        other_steps = (smaller - 0.5 * own_counts) * own_first * own_last / float(self.share)
        own_steps = 0.5 * (own_first + own_last)
        other_steps[0] = other_steps[first:] = own_steps[first:] = 0
        torch.index_select(other_steps, 0, buckets, out=torch.from_numpy(out))
        steps = torch.index_select(own_steps, 0, own_buckets).numpy()
        loss = _dot(row, out) + _dot(own_errors, steps)
        out[own] = -steps
        return loss, np.flatnonzero(buckets.numpy() >= first), own_buckets.numpy() >= first

    def _sort(
        self,
        total: int,
        own: NDArray[np.intp],
        own_errors: NDArray[np.float32],
        others: NDArray[np.intp],
        other_errors: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> float:
        """Writes the gradients of the pixels with the largest errors, and returns their loss.

        The rest of the class's ``total`` pixels have smaller errors.
        """
        keys = self.keys[: len(own) + len(others)]
        pixels, bits = keys.view(_HALF)[0::2], keys.view(_HALF)[1::2]
        pixels[: len(own)], pixels[len(own) :] = own, others
        pixels[: len(own)] |= _OWN
        bits[: len(own)], bits[len(own) :] = own_errors.view(np.int32), other_errors.view(np.int32)
        keys.sort()  # the smallest errors come first
        is_own = pixels < 0
        left = is_own.cumsum(dtype=np.int32)
        union = left - self.numbers[: len(keys)] + np.int32(total + len(others))
        rounded = union.astype(np.float32)
        rounded_less = rounded - 1  # of the class's own pixels this is the union: they are in ``left``
        left += total - len(own)
        steps = self.share * left.astype(np.float32) / rounded / rounded_less
        hits = np.flatnonzero(is_own)
        steps[hits] = self.share / rounded_less[hits]
        loss = _dot(bits.astype(np.int32).view(np.float32), steps)
        steps[hits] *= -1
        out[pixels & ~_OWN] = steps
        return loss


class Buckets:
    """One for four to eight pixels, at most 140,000: a table that fits the core's own cache.

    Of half a million pixels and more they are 2^-22 wide for errors below 2^-8, and 2^-15 near 1.
    """

    def __init__(self, pixels: int) -> None:
        self.dropped_bits = max(9, 29 - pixels.bit_length())
        self.lowest, self.highest = self._codes(torch.tensor([0.0, 1.0])).tolist()
        self.count = self.highest - self.lowest + 1

    def _codes(self, errors: Tensor, sums: Tensor | None = None) -> Tensor:
        return torch.add(errors, _OFFSET, out=sums).view(torch.int32).bitwise_right_shift_(self.dropped_bits)

    def __call__(self, errors: Tensor, sums: Tensor | None = None) -> Tensor:
        """(N,) int32 of errors (N,), in the memory of ``sums`` (N,) float32 if given."""
        # nan would lie outside, and so would a probability that rounding raised above 1.
        return self._codes(errors, sums).clamp_(self.lowest, self.highest).sub_(self.lowest)


def _dot(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The sum of (N,) products."""
    starts = range(0, len(left), _BLOCK)
    return sum(float(np.dot(left[start : start + _BLOCK], right[start : start + _BLOCK])) for start in starts)
