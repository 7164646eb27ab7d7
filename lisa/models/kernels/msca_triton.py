"""Triton kernels of the fused MSCA; import it where Triton is. Pixels are rows of (P,C) maps, channels last.

Forward: ``_local`` (depthwise 5x5), ``_one_to_three`` (the three 1xk strips, which share their reads), and
``_mix`` (the three kx1 strips, their sum, the 1x1 convolution and the product with the input). All add up in
float32. Backward: the same kernels with turned weights; each weight gradient is a sum per group of pixels,
without atomic additions.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_P, BLOCK_C, BLOCK_N = 32, 32, 64
"""Pixels and channels of a program; output channels of the 1x1 convolution's."""

GROUPS = 64
"""Partial sums of a weight gradient, which torch then adds up."""


@triton.jit
def _place(block: Any, P: Any, H: Any, W: Any, BLOCK: tl.constexpr):
    p = block * BLOCK + tl.arange(0, BLOCK)
    return p.to(tl.int64), p < P, (p // W) % H, p % W


@triton.jit
def _tap(
    x: Any, p: Any, inside: Any, row: Any, col: Any, c: Any, H: Any, W: Any, C: Any, down: Any, right: Any
):
    """(BLOCK_P, BLOCK_C) float32: the pixels that lie so far down and to the right; 0 beyond the border."""
    there = inside & (row + down >= 0) & (row + down < H) & (col + right >= 0) & (col + right < W)
    where = (p + down * W + right)[:, None] * C + c[None, :]
    return tl.load(x + where, mask=there[:, None] & (c < C)[None, :], other=0.0).to(tl.float32)


@triton.jit
def _vector(x: Any, index: Any, c: Any, C: Any):
    return tl.load(x + index * C + c, mask=c < C, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _put(x: Any, value: Any, p: Any, inside: Any, c: Any, C: Any):
    where = p[:, None] * C + c[None, :]
    tl.store(x + where, value.to(x.dtype.element_ty), mask=inside[:, None] & (c < C)[None, :])


@triton.jit
def _three_to_one(
    x7: Any, x11: Any, x21: Any, w7: Any, w11: Any, w21: Any,
    p: Any, inside: Any, row: Any, col: Any, c: Any, H: Any, W: Any, C: Any,
    total: Any, DOWN: tl.constexpr,
):  # fmt: skip
    """Adds three strips of three maps to ``total``."""
    for k in tl.static_range(21):  # pyright: ignore[reportGeneralTypeIssues]
        down = (k - 10) * DOWN
        right = (k - 10) * (1 - DOWN)
        total += _tap(x21, p, inside, row, col, c, H, W, C, down, right) * _vector(w21, k, c, C)
        if k >= 5 and k <= 15:
            total += _tap(x11, p, inside, row, col, c, H, W, C, down, right) * _vector(w11, k - 5, c, C)
        if k >= 7 and k <= 13:
            total += _tap(x7, p, inside, row, col, c, H, W, C, down, right) * _vector(w7, k - 7, c, C)
    return total


@triton.jit
def _local(
    x: Any, weight: Any, bias: Any, added: Any, out: Any, P: Any, H: Any, W: Any, C: Any,
    BIASED: tl.constexpr, ADDED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    p, inside, row, col = _place(tl.program_id(0), P, H, W, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for k in tl.static_range(25):  # pyright: ignore[reportGeneralTypeIssues]
        total += _tap(x, p, inside, row, col, c, H, W, C, k // 5 - 2, k % 5 - 2) * _vector(weight, k, c, C)
    if BIASED:
        total += _vector(bias, 0, c, C)
    if ADDED:
        total += _tap(added, p, inside, row, col, c, H, W, C, 0, 0)
    _put(out, total, p, inside, c, C)


@triton.jit
def _one_to_three(
    x: Any, w7: Any, w11: Any, w21: Any, b7: Any, b11: Any, b21: Any, o7: Any, o11: Any, o21: Any,
    P: Any, H: Any, W: Any, C: Any,
    DOWN: tl.constexpr, BIASED: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    p, inside, row, col = _place(tl.program_id(0), P, H, W, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    t7 = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    t11 = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    t21 = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for k in tl.static_range(21):  # pyright: ignore[reportGeneralTypeIssues]
        value = _tap(x, p, inside, row, col, c, H, W, C, (k - 10) * DOWN, (k - 10) * (1 - DOWN))
        t21 += value * _vector(w21, k, c, C)
        if k >= 5 and k <= 15:
            t11 += value * _vector(w11, k - 5, c, C)
        if k >= 7 and k <= 13:
            t7 += value * _vector(w7, k - 7, c, C)
    if BIASED:
        t7 += _vector(b7, 0, c, C)
        t11 += _vector(b11, 0, c, C)
        t21 += _vector(b21, 0, c, C)
    _put(o7, t7, p, inside, c, C)
    _put(o11, t11, p, inside, c, C)
    _put(o21, t21, p, inside, c, C)


@triton.jit
def _sum_of_three(
    x7: Any, x11: Any, x21: Any, w7: Any, w11: Any, w21: Any, added: Any, out: Any,
    P: Any, H: Any, W: Any, C: Any,
    DOWN: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    p, inside, row, col = _place(tl.program_id(0), P, H, W, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = _tap(added, p, inside, row, col, c, H, W, C, 0, 0)
    total = _three_to_one(x7, x11, x21, w7, w11, w21, p, inside, row, col, c, H, W, C, total, DOWN)
    _put(out, total, p, inside, c, C)


@triton.jit
def _mix(
    u: Any, local: Any, x7: Any, x11: Any, x21: Any, w7: Any, w11: Any, w21: Any, bias: Any,
    mix: Any, mix_bias: Any, grad: Any, out: Any, grad_mixed: Any, attention: Any,
    P: Any, H: Any, W: Any, C: Any,
    DOWN: tl.constexpr, BACKWARD: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Writes ``u`` times the mixed attention; in the backward pass what gradients need, computed again."""
    p, inside, row, col = _place(tl.program_id(0), P, H, W, BLOCK_P)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    mixed = tl.zeros((BLOCK_P, BLOCK_N), tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        total = _tap(local, p, inside, row, col, c, H, W, C, 0, 0) + _vector(bias, 0, c, C)
        total = _three_to_one(x7, x11, x21, w7, w11, w21, p, inside, row, col, c, H, W, C, total, DOWN)
        known = (c < C)[:, None] & (n < C)[None, :]
        tile = tl.load(mix + n[None, :] * C + c[:, None], mask=known, other=0.0)
        rounded = total.to(tile.dtype).to(tl.float32)
        mixed = tl.dot(rounded, tile.to(tl.float32), mixed, input_precision=PRECISION)
        if BACKWARD:  # noqa: SIM102 - settled when the kernel is compiled, the inner one when it runs
            if tl.program_id(1) == 0:
                _put(attention, total, p, inside, c, C)
    mixed += _vector(mix_bias, 0, n, C)
    value = _tap(u, p, inside, row, col, n, H, W, C, 0, 0)
    if BACKWARD:
        upper = _tap(grad, p, inside, row, col, n, H, W, C, 0, 0)
        _put(out, upper * mixed, p, inside, n, C)
        _put(grad_mixed, upper * value, p, inside, n, C)
    else:
        _put(out, value * mixed, p, inside, n, C)


@triton.jit
def _weight_gradient(
    x: Any, grad: Any, partial: Any, P: Any, H: Any, W: Any, C: Any, each: Any,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    group, tap = tl.program_id(0), tl.program_id(2)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    down, right = tap // WIDTH - HEIGHT // 2, tap % WIDTH - WIDTH // 2
    total = tl.zeros((BLOCK_C,), tl.float32)
    for block in range(group * each, group * each + each):
        p, inside, row, col = _place(block, P, H, W, BLOCK_P)
        value = _tap(x, p, inside, row, col, c, H, W, C, down, right)
        total += tl.sum(value * _tap(grad, p, inside, row, col, c, H, W, C, 0, 0), axis=0)
    tl.store(partial + (group * HEIGHT * WIDTH + tap) * C + c, total, mask=c < C)


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    kernel[grid](*arguments, **constants)


class Maps:
    """Launches the kernels on (P,C) maps of pictures of one size."""

    def __init__(self, like: Tensor) -> None:
        batch, channels, height, width = like.shape
        self.shape = (batch * height * width, height, width, channels)
        self.pixels, self.channels = self.shape[0], channels
        self.grid = (triton.cdiv(self.pixels, BLOCK_P), triton.cdiv(channels, BLOCK_C))
        self.blocks = {"BLOCK_P": BLOCK_P, "BLOCK_C": BLOCK_C}

    def local(self, x: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None) -> Tensor:
        """The depthwise 5x5 with weight (25,C), plus bias (C,) and a map, if given."""
        out = torch.empty_like(x)
        given = {"BIASED": bias is not None, "ADDED": added is not None}
        bias, added = (x if each is None else each for each in (bias, added))  # not read
        _launch(_local, self.grid, x, weight, bias, added, out, *self.shape, **given, **self.blocks)
        return out

    def one_to_three(
        self, x: Tensor, weights: list[Tensor], biases: list[Tensor] | None, down: bool
    ) -> list[Tensor]:
        """Strips of 7, 11 and 21 with weights (k,C), down or across, of the same map."""
        out = [torch.empty_like(x) for _ in weights]
        given = {"DOWN": int(down), "BIASED": biases is not None}
        _launch(
            _one_to_three,
            self.grid,
            x,
            *weights,
            *(biases or [x] * 3),
            *out,
            *self.shape,
            **given,
            **self.blocks,
        )
        return out

    def sum_of_three(self, maps: list[Tensor], weights: list[Tensor], added: Tensor) -> Tensor:
        """A strip across each map, and another map, summed."""
        out = torch.empty_like(added)
        _launch(_sum_of_three, self.grid, *maps, *weights, added, out, *self.shape, DOWN=0, **self.blocks)
        return out

    def mix(
        self,
        u: Tensor,
        local: Tensor,
        rows: list[Tensor],
        weights: list[Tensor],
        bias: Tensor,
        mix: Tensor,
        mix_bias: Tensor,
        grad: Tensor | None = None,
    ) -> list[Tensor]:
        """``u`` * (mix of attention); with ``grad``: its products with mix and ``u``, and the attention."""
        out = [torch.empty_like(u) for _ in range(1 if grad is None else 3)]
        grid = (self.grid[0], triton.cdiv(self.channels, BLOCK_N))
        maps = [u, local, *rows, *weights, bias, mix, mix_bias, u if grad is None else grad]
        places = out if grad is not None else out * 3
        # TF32 holds bfloat16's products exactly. (Triton's interpreter can't multiply bfloat16 in dot.)
        precision = "ieee" if mix.dtype == torch.float32 else "tf32"
        constants = {"DOWN": 1, "BACKWARD": grad is not None, "PRECISION": precision, "BLOCK_N": BLOCK_N}
        _launch(_mix, grid, *maps, *places, *self.shape, **constants, **self.blocks)
        return out

    def weight_gradient(self, x: Tensor, grad: Tensor, height: int, width: int) -> Tensor:
        """Gradient (C,1,height,width) float32 of a depthwise kernel."""
        blocks = self.grid[0]
        groups = min(GROUPS, blocks)
        partial = x.new_empty(groups, height * width, self.channels, dtype=torch.float32)
        each = triton.cdiv(blocks, groups)
        grid = (groups, self.grid[1], height * width)
        _launch(
            _weight_gradient,
            grid,
            x,
            grad,
            partial,
            *self.shape,
            each,
            HEIGHT=height,
            WIDTH=width,
            **self.blocks,
        )
        return partial.sum(0).t().reshape(self.channels, 1, height, width)
