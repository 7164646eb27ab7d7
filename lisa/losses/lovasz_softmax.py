"""Lovasz-softmax without host synchronisation (Berman et al., https://arxiv.org/abs/1705.08790).

Each class sorts its errors, the largest first. An error's weight is its step: what the Jaccard loss rises by
when this pixel joins the mispredicted ones. Of the class's T pixels ``left`` come later in the order, and
``union`` is T plus the other classes' pixels up to here. Then a step is

    1 / union                            at a pixel of the class,
    left / (union * (union - 1))         at a pixel of another class.

The paper's Algorithm 1 subtracts neighbouring Jaccard losses instead. Near 1 float32 cannot do that: at ten
million pixels a quarter of the gradient is wrong.

Behind the last pixel of the class all steps are 0: pixels of other classes whose error is smaller than the
smallest one in the class need not be sorted. On the CPU :mod:`lisa.losses.lovasz_on_cpu` makes use of that,
and of a class with more than 131,072 errors it sorts the largest alone. Elsewhere all are sorted.
"""

from typing import Any

import torch
from torch import Tensor

from lisa.labels import IGNORE_INDEX
from lisa.losses.lovasz_on_cpu import loss_and_gradient
from lisa.models.kernels.fast_path import eager_on_cpu

AT_ONCE = 2**23
"""Errors that are sorted together on a GPU, whole classes of them; each takes some 50 bytes meanwhile."""


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
    """Loss and gradient (N,C) of float32 on the CPU."""
    rows = torch.where(target != IGNORE_INDEX, probabilities.t(), 0).contiguous()
    loss, gradient = loss_and_gradient(rows, target)
    return probabilities.new_tensor(loss), gradient.t().contiguous()
