"""BatchNorm over all ranks' pictures, without a wait for the device and traceable by torch.compile.

torch's ``nn.SyncBatchNorm`` drops ranks without pictures by boolean indices: the host waits for the device
three times in each layer, and no graph can hold it. Here every rank has pictures. Means and second moments
cross ranks in float64, where their difference loses nothing.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class SyncBatchNorm2d(nn.SyncBatchNorm):
    """``nn.BatchNorm2d`` whose statistics in training are those of all ranks' (B,C,H,W) together."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape. In training all ranks call it, each with a picture at least."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        if not self.training:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        output, mean, var = _Normalise.apply(input, self.weight, self.bias, self.eps)  # pyright: ignore
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return output


def synchronise_batchnorm(module: nn.Module) -> nn.Module:
    """Replaces each ``nn.BatchNorm2d`` inside, which keeps its parameters and buffers; returns the module."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = SyncBatchNorm2d(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.running_mean, norm.running_var = child.running_mean, child.running_var
            norm.num_batches_tracked = child.num_batches_tracked
            norm.training = child.training
            setattr(module, name, norm)
        else:
            synchronise_batchnorm(child)
    return module


class _Normalise(torch.autograd.Function):
    """Normalised input, mean (C,), and unbiased variance (C,), the latter two float32 without gradient."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, var = _statistics(input, eps)
        count = input.numel() // input.shape[1]
        totals = torch.stack([torch.ones_like(mean), mean, var + mean.square()]) * count
        dist.all_reduce(totals)
        counts = totals[0]
        mean = totals[1] / counts
        var = (totals[2] / counts - mean.square()).clamp(min=0)
        unbiased = var * counts / (counts - 1)
        dtype = torch.promote_types(input.dtype, torch.float32)
        mean, var, unbiased = (each.to(dtype) for each in (mean, var, unbiased))
        output = F.batch_norm(input, mean, var, weight, bias, eps=eps)
        ctx.save_for_backward(input, weight, mean, (var + eps).rsqrt(), counts)
        ctx.mark_non_differentiable(mean, unbiased)
        return output, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        input, weight, mean, invstd, counts = ctx.saved_tensors
        grad = grad_outputs[0]
        if _has_kernels(input):
            layout = torch.channels_last if input.is_contiguous(memory_format=torch.channels_last) else None
            grad = grad.contiguous(memory_format=layout or torch.contiguous_format)
            grad_sum, product_sum, grad_weight, grad_bias = torch.batch_norm_backward_reduce(
                grad, input, mean, invstd, weight, True, True, True
            )
            sums = torch.stack([grad_sum, product_sum])
            dist.all_reduce(sums)
            each = counts[:1].to(torch.int32)
            grad_input = torch.batch_norm_backward_elemt(
                grad, input, mean, invstd, weight, sums[0], sums[1], each
            )
            return grad_input, grad_weight, grad_bias, None
        shape = (1, -1, 1, 1)
        wide = grad.to(mean.dtype)
        normalised = (input - mean.view(shape)) * invstd.view(shape)
        grad_bias, grad_weight = wide.sum((0, 2, 3)), (wide * normalised).sum((0, 2, 3))
        means = torch.stack([grad_bias, grad_weight])
        dist.all_reduce(means)
        means = (means / counts).to(mean.dtype)
        inner = wide - means[0].view(shape) - normalised * means[1].view(shape)
        grad_input = inner * (invstd * weight).view(shape)
        return grad_input.to(input.dtype), grad_weight, grad_bias, None


def _has_kernels(input: Tensor) -> bool:
    """torch has kernels for these passes on CUDA; a compiler writes better ones."""
    return input.device.type == "cuda" and not torch.compiler.is_compiling()


def _statistics(input: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """This rank's mean and variance (C,) in float64."""
    if _has_kernels(input):
        mean, invstd = torch.batch_norm_stats(input, eps)
        return mean.double(), invstd.double().pow(-2) - eps
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    var, mean = torch.var_mean(wide, (0, 2, 3), correction=0)
    return mean.double(), var.double()
