"""Depthwise convolution whose gradients are fast on the CPU.

oneDNN's weight gradient of a depthwise kernel wider than three columns is 10 to 60 times slower than that
of the transposed kernel. So a 1xk kernel is treated as kx1: each row of pixels is viewed as a picture one
pixel wide, which in channels_last is the same memory. A kxk kernel is split into its three middle columns,
and each other column as a kx1 kernel over the shifted input. For a strip longer than the map, where oneDNN is
slow again, the gradient is one matrix product per channel. The input's gradient is a forward pass with the
flipped kernel, in 30 to 90 % of oneDNN's time. On other devices, and under TorchScript, the
module is a plain ``nn.Conv2d``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.models.kernels.fast_path import eager_on_cpu

WIDEST_FAST_KERNEL = 3


class DepthwiseConv2d(nn.Conv2d):
    """Depthwise convolution, stride 1, "same" zero padding, odd kernel (height, width)."""

    def __init__(self, channels: int, kernel_size: tuple[int, int], bias: bool = True) -> None:
        height, width = kernel_size
        super().__init__(
            channels, channels, kernel_size, padding=(height // 2, width // 2), groups=channels, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        if torch.jit.is_scripting():
            return self._conv_forward(input, self.weight, self.bias)
        return self._eager(input)

    @torch.jit.unused
    def _eager(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and torch.is_autocast_enabled("cpu") and hangs_in_bf16(self.weight):
            with torch.autocast("cpu", enabled=False):
                return self._eager(input.to(self.weight.dtype))
        if eager_on_cpu(input) and torch.is_grad_enabled() and self.weight.requires_grad:
            return _Depthwise.apply(input, self.weight, self.bias)
        return self._conv_forward(input, self.weight, self.bias)


def hangs_in_bf16(weight: Tensor) -> bool:
    """Whether oneDNN's bf16 convolution with this depthwise weight (C,1,kh,kw) never returns (torch 2.15)."""
    return weight.shape[0] <= 16 and weight.shape[3] >= 15


class _Depthwise(torch.autograd.Function):
    """Same-padded depthwise convolution with the gradients described above."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.bfloat16)
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.has_bias = bias is not None
        return F.conv2d(input, weight, bias, padding=_same(weight), groups=weight.shape[0])

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        (grad,) = grad_outputs
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3)
            grad_input = F.conv2d(grad, turned, None, padding=_same(weight), groups=weight.shape[0])
        if ctx.needs_input_grad[1]:
            # In the weight's own layout: DDP's buckets would have to copy any other.
            grad_weight = torch.empty_like(weight).copy_(depthwise_weight_gradient(input, grad, weight))
        if ctx.has_bias and ctx.needs_input_grad[2]:
            grad_bias = grad.sum((0, 2, 3))
        return grad_input, grad_weight, grad_bias


def depthwise_weight_gradient(input: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of a same-padded depthwise convolution to its weight.

    ``input`` and ``grad`` are (B,C,H,W), ``weight`` is (C,1,kh,kw) and so is the result.
    """
    height, width = weight.shape[-2:]
    if height == 1 and width > input.shape[3]:
        return _long_strip_gradient(input, grad, width)[:, None, None, :]
    if width == 1 and height > input.shape[2]:
        return _long_strip_gradient(input.transpose(2, 3), grad.transpose(2, 3), height)[:, None, :, None]
    if width <= WIDEST_FAST_KERNEL:
        return _weight_gradient(input, grad, weight)
    if height == 1:
        return _weight_gradient(_rows(input), _rows(grad), weight.transpose(2, 3)).transpose(2, 3)
    middle = width // 2
    ones = [(column, 1) for column in range(width) if abs(column - middle) > 1]
    gradients = [
        _weight_gradient(_shifted(input, column - middle), grad, weight[..., :columns])
        for column, columns in sorted([*ones, (middle, 3)])
    ]
    return torch.cat(gradients, dim=3)


def _long_strip_gradient(input: Tensor, grad: Tensor, length: int) -> Tensor:
    """Gradient (C,length) float32 or wider of a 1xlength kernel, from the products of all pairs of columns.

    Entry k of the kernel sums the products of columns that lie k - length // 2 apart, which form a diagonal.
    """
    channels, width, padding = input.shape[1], input.shape[3], length // 2
    products = torch.bmm(_columns(input), _columns(grad).transpose(1, 2))
    padded = F.pad(products, [0, 0, padding, padding])
    strides = ((width + 2 * padding) * width, width, width + 1)
    return padded.as_strided((channels, length, width), strides).sum(2)


def _columns(x: Tensor) -> Tensor:
    """(B,C,H,W) to (C,W,B*H), float32 or wider."""
    batch, channels, height, width = x.shape
    columns = x.new_empty(channels, width, batch, height, dtype=torch.promote_types(x.dtype, torch.float32))
    return columns.copy_(x.permute(1, 3, 0, 2)).flatten(2)


def _rows(x: Tensor) -> Tensor:
    """(B,C,H,W) to (B*H,C,W,1): a view of a channels_last map."""
    batch, channels, height, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(batch * height, width, 1, channels).permute(0, 3, 1, 2)


def _shifted(input: Tensor, shift: int) -> Tensor:
    """The input moved ``shift`` columns to the left, zeros following."""
    if shift == 0:
        return input
    moved = torch.zeros_like(input)
    if shift > 0:
        moved[..., :-shift] = input[..., shift:]
    else:
        moved[..., -shift:] = input[..., :shift]
    return moved


def _weight_gradient(input: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """oneDNN's own, for kernels of at most three columns."""
    input = input.contiguous(memory_format=torch.channels_last)
    grad = grad.contiguous(memory_format=torch.channels_last)
    _, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        input,
        weight.contiguous(),
        None,
        [1, 1],
        _same(weight),
        [1, 1],
        False,
        [0, 0],
        weight.shape[0],
        [False, True, False],
    )
    return grad_weight


def _same(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2] // 2, weight.shape[3] // 2
