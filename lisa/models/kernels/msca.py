"""MSCA in three kernels forward, for GPUs: a switch that is off until a GPU has shown its gain.

Eager MSCA writes and reads its map 23 times; here the strips share their reads, and the sums, the 1x1
convolution and the product with the input are one kernel. The kernels are Triton's
(:mod:`lisa.models.kernels.msca_triton`), which comes with torch's CUDA build on Linux.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lisa.errors import InputError

_enabled: ContextVar[bool] = ContextVar("fused MSCA", default=False)


@contextmanager
def fused_msca() -> Generator[None]:
    """Inside, MSCA without a bound runs fused, on whatever device Triton runs on.

    Raises InputError without Triton.
    """
    if find_spec("triton") is None:
        raise InputError("the fused MSCA needs Triton, which comes with torch's CUDA build on Linux")
    token = _enabled.set(True)
    try:
        yield
    finally:
        _enabled.reset(token)


def is_fused() -> bool:
    """Whether MSCA runs fused here; compiled and traced it never does."""
    return _enabled.get() and not (torch.compiler.is_compiling() or torch.jit.is_tracing())


def msca(x: Tensor, *parameters: Tensor) -> Tensor:
    """(B,C,H,W) to the same shape: x * mix(attention).

    ``parameters`` are weight and bias of the 5x5, of the strips 1x7, 7x1, 1x11, 11x1, 1x21, 21x1, and of the
    1x1 convolution.
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, parameters = x.to(dtype), tuple(each.to(dtype) for each in parameters)
    return _MSCA.apply(x, *parameters)  # pyright: ignore[reportReturnType]


class _MSCA(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        maps, weights = _maps(x), [_taps(each) for each in parameters[:14:2]]
        biases = parameters[1::2]
        pixels = _pixels(x)
        local = maps.local(pixels, weights[0], biases[0], None)
        rows = maps.one_to_three(local, weights[1::2], list(biases[1:7:2]), down=False)
        column_bias = biases[2] + biases[4] + biases[6]
        mix = parameters[14].flatten(1)
        (out,) = maps.mix(pixels, local, rows, weights[2::2], column_bias, mix, biases[7])
        ctx.save_for_backward(x, local, *rows, *parameters)
        return _map(out, x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, local, *saved = ctx.saved_tensors
        rows, parameters = saved[:3], saved[3:]
        maps, weights = _maps(x), [_taps(each) for each in parameters[:14:2]]
        turned = [each.flip(0).contiguous() for each in weights]
        biases, mix, pixels = parameters[1::2], parameters[14].flatten(1), _pixels(x)
        column_bias = biases[2] + biases[4] + biases[6]
        grad_gated, grad_mixed, attention = maps.mix(
            pixels, local, rows, weights[2::2], column_bias, mix, biases[7], _pixels(grad_outputs[0])
        )
        grad_attention = grad_mixed @ mix
        grad_rows = maps.one_to_three(grad_attention, turned[2::2], None, down=True)
        grad_local = maps.sum_of_three(grad_rows, turned[1::2], grad_attention)
        grad_x = maps.local(grad_local, turned[0], None, grad_gated)
        gradients = [maps.weight_gradient(pixels, grad_local, 5, 5), grad_local.sum(0)]
        for length, row, grad_row in zip((7, 11, 21), rows, grad_rows, strict=True):
            gradients += [maps.weight_gradient(local, grad_row, 1, length), grad_row.sum(0)]
            gradients += [maps.weight_gradient(row, grad_attention, length, 1), grad_attention.sum(0)]
        gradients += [(grad_mixed.t() @ attention)[..., None, None], grad_mixed.sum(0)]
        cast = [gradient.to(each.dtype) for gradient, each in zip(gradients, parameters, strict=True)]
        return _map(grad_x, x), *cast


def _maps(x: Tensor) -> Any:
    from lisa.models.kernels.msca_triton import Maps  # Triton is not everywhere

    return Maps(x)


def _pixels(x: Tensor) -> Tensor:
    """(B,C,H,W) to (B*H*W,C), of a channels_last map a view."""
    return x.permute(0, 2, 3, 1).flatten(0, 2).contiguous()


def _map(pixels: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _taps(weight: Tensor) -> Tensor:
    """(C,1,kh,kw) to (kh*kw,C)."""
    return weight.flatten(1).t().contiguous()
