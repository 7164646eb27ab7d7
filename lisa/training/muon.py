"""Muon: matrices move along their momentum's directions, all of the same length.

From Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/. torch's and timm's compute in bfloat16
alone, 4.8 s a step of LISA on a CPU without its instructions, and know no step that isn't taken. Ours takes
0.25 s there, in float32, and 0.07 s where there is bfloat16 (docs/performance.md).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from lisa.world import World

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

    ``dtype`` is what the directions are computed in, each by one of the world's ranks for all: all have the
    same, to the bit. A step with ``found_inf`` 1 changes nothing, as with torch's fused optimizers.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
        world: World,
    ) -> None:
        super().__init__(params, lr=lr, weight_decay=weight_decay, fused=True)
        self.dtype = dtype
        self.world = world

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
        taken = 1 if self.found_inf is None else 1 - self.found_inf
        aheads = [self._ahead(each, gradient, taken) for _, each, gradient in matrices]
        directions = self._directions(aheads)
        for (group, each, gradient), direction in zip(matrices, directions, strict=True):
            each.grad = gradient
            lr, length = group["lr"], LIKE_ADAMW * max(direction.shape) ** 0.5
            each.mul_(1 - lr * group["weight_decay"] * taken)
            each.sub_(direction.view_as(each).to(each.dtype) * (lr * length * taken))

    def _ahead(self, matrix: Tensor, gradient: Tensor, taken: Tensor | int) -> Tensor:
        """Nesterov's momentum (rows,columns), after this gradient; as it was where no step is taken."""
        state = self.state[matrix]
        if not state:
            # AdamW looks for a step in each state that it loads.
            state.update(momentum=torch.zeros_like(matrix), step=torch.zeros((), device=matrix.device))
        momentum, weight = state["momentum"], (1 - MOMENTUM) * taken
        if isinstance(taken, Tensor):
            gradient = torch.where(taken > 0, gradient, 0)
        momentum.lerp_(gradient, weight)
        return gradient.lerp(momentum, MOMENTUM).flatten(1)

    def _directions(self, aheads: list[Tensor]) -> list[Tensor]:
        """All ranks' shares of the matrices' directions, in the momentum's shapes."""
        if not aheads:
            return []
        flat = aheads[0].new_zeros(sum(ahead.numel() for ahead in aheads), dtype=self.dtype)
        found = [
            part.view_as(ahead)
            for ahead, part in zip(aheads, flat.split([ahead.numel() for ahead in aheads]), strict=True)
        ]
        ranks = shared_out([min(ahead.shape) * ahead.numel() for ahead in aheads], self.world.world_size)
        for rank, ahead, direction in zip(ranks, aheads, found, strict=True):
            if rank == self.world.rank:
                direction.copy_(orthogonal(ahead, self.dtype))
        self.world.all_sum(flat)
        return found


def shared_out(costs: list[int], ranks: int) -> list[int]:
    """Which rank takes which task, so that none has much more to do: the most expensive ones first."""
    loads, takes = [0] * ranks, [0] * len(costs)
    for task in sorted(range(len(costs)), key=lambda task: -costs[task]):
        takes[task] = loads.index(min(loads))
        loads[takes[task]] += costs[task]
    return takes


def is_matrix(parameter: Tensor) -> bool:
    """Whether a layer's weight mixes channels: (out,in,...), both above the three of a picture."""
    return parameter.ndim > 1 and min(parameter.shape[:2]) > 3


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """(rows,columns) of ``dtype``, with singular values near 1 in place of the matrix's own."""
    x = matrix.to(dtype)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / x.norm().clamp(min=1e-7)
    for a, b, c in NEWTON_SCHULZ:
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
