"""Muon: matrices move along their momentum's directions, all of the same length.

From Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/. torch's and timm's compute in bfloat16
alone, for which a CPU without its instructions takes sixty times as long, and know no step that isn't taken.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Five steps of an odd polynomial that brings singular values near 1, as in timm.optim.muon."""
LIKE_ADAMW = 0.2
"""AdamW's moves have this root mean square: one rate serves both (https://arxiv.org/abs/2502.16982)."""


class Muon(torch.optim.AdamW):
    """Muon for matrices, as 1x1 and other full convolutions are; AdamW for the rest.

    ``dtype`` is what the directions are computed in. As torch's fused optimizers do, it leaves everything as
    it was in a step with ``found_inf`` 1.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, params: Iterable[dict[str, Any]], lr: float, weight_decay: float, dtype: torch.dtype
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore
        """One step of every parameter that has a gradient; ``closure`` must be None."""
        assert closure is None
        matrices = [
            (group, each, each.grad)
            for group in self.param_groups
            for each in group["params"]
            if is_matrix(each) and each.grad is not None
        ]
        for _, each, _ in matrices:
            each.grad = None  # AdamW passes over parameters without a gradient
        super().step()
        for group, each, gradient in matrices:
            each.grad = gradient
            self._move(each, gradient, group["lr"], group["weight_decay"])

    def _move(self, matrix: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        state = self.state[matrix]
        if not state:
            # AdamW looks for a step in each state that it loads.
            state.update(momentum=torch.zeros_like(matrix), step=torch.zeros((), device=matrix.device))
        momentum = state["momentum"]
        taken = torch.ones((), device=matrix.device) if self.found_inf is None else 1 - self.found_inf
        gradient = torch.where(taken > 0, gradient, 0)
        momentum.lerp_(gradient, (1 - MOMENTUM) * taken)
        ahead = gradient.lerp(momentum, MOMENTUM).flatten(1)  # Nesterov's
        direction = orthogonal(ahead, self.dtype).view_as(matrix)
        length = LIKE_ADAMW * max(ahead.shape) ** 0.5
        matrix.mul_(1 - lr * weight_decay * taken).sub_(direction * (lr * length * taken))


def is_matrix(parameter: Tensor) -> bool:
    """Whether a layer's weight mixes channels: (out,in,...), both above the three of a picture."""
    return parameter.ndim > 1 and min(parameter.shape[:2]) > 3


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows,columns) with singular values near 1 in place of its own, in the matrix's dtype."""
    x = matrix.to(dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrix.dtype)
