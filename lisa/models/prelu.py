"""PReLU whose backward pass is fast on the CPU.

torch's takes four times as long on large channels_last maps. Here it is five vectorised passes over the map;
on other devices, and under TorchScript, the module is a plain ``nn.PReLU``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.models.fast_path import eager_on_cpu


class ChannelPReLU(nn.PReLU):
    """PReLU with one slope per channel (He et al., ICCV 2015, https://arxiv.org/abs/1502.01852)."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        if not torch.jit.is_scripting() and self._trains_on_cpu(input):
            return _PReLU.apply(input, self.weight)
        return F.prelu(input, self.weight)

    @torch.jit.unused
    def _trains_on_cpu(self, input: Tensor) -> bool:
        return eager_on_cpu(input) and torch.is_grad_enabled() and self.weight.requires_grad


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.prelu(input, weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        input, weight = (tensor.detach() for tensor in ctx.saved_tensors)
        # Channels last, where a channels_last map is flat memory and the slopes broadcast along it.
        x, grad = input.movedim(1, -1), grad_outputs[0].movedim(1, -1)
        above = torch.ops.aten.threshold_backward(grad, x, 0.0)
        below = grad - above
        grad_input = above.addcmul_(below, weight)
        return grad_input.movedim(-1, 1), below.mul_(x).flatten(end_dim=-2).sum(0)
