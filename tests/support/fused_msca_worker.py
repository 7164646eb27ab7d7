"""Prints how far the fused MSCA is from the eager one: ``TRITON_INTERPRET=1 python -m fused_msca_worker``."""

import json
import sys

import torch
from torch import Tensor

from lisa.models.blocks import MSCA
from lisa.models.kernels.fast_path import plain_kernels
from lisa.models.kernels.msca import fused_msca


def passes(msca: MSCA, x: Tensor, upstream: Tensor, bf16: bool) -> dict[str, Tensor]:
    """Output and gradients by name."""
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        output = msca(leaf)
    names, parameters = zip(*msca.named_parameters(), strict=True)
    found = torch.autograd.grad(output, [leaf, *parameters], upstream.to(output.dtype))
    return {"output": output.detach(), **dict(zip(("input", *names), found, strict=True))}


def compare(batch: int, channels: int, height: int, width: int, bf16: bool) -> dict[str, float]:
    """Relative distances by name."""
    torch.manual_seed(channels)
    msca = MSCA(channels)
    x, upstream = (
        torch.randn(batch, channels, height, width).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    with plain_kernels():
        eager = passes(msca, x, upstream, bf16=False)
    with fused_msca():
        fused = passes(msca, x, upstream, bf16)
    assert fused["output"].is_contiguous(memory_format=torch.channels_last)
    return {name: ((fused[name].float() - each).norm() / each.norm()).item() for name, each in eager.items()}


if __name__ == "__main__":
    shapes = json.loads(sys.argv[1])
    print(json.dumps([compare(*shape) for shape in shapes]))
