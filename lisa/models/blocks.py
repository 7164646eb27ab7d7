"""Blocks that the networks share: activation, multi-scale attention, matrix decomposition."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.models.kernels.depthwise import DepthwiseConv2d
from lisa.models.kernels.msca import is_fused, msca
from lisa.models.kernels.pointwise import PointwiseConv2d
from lisa.models.kernels.prelu import ChannelPReLU

ACTIVATIONS = ("prelu", "relu", "gelu")


def make_activation(name: str, channels: int) -> nn.Module:
    """Activation of the report's Table 5; PReLU has one slope per channel (He et al., ICCV 2015)."""
    if name == "prelu":
        return ChannelPReLU(channels)
    if name == "relu":
        return nn.ReLU(inplace=True)
    if name == "gelu":
        return nn.GELU()
    raise ValueError(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")


def pad_to_multiple(x: Tensor, stride: int) -> Tensor:
    """(B,C,H,W) with its border repeated downwards and to the right until both sides are multiples."""
    height, width = x.shape[-2:]
    down, right = -height % stride, -width % stride
    if down > 0 or right > 0:
        x = F.pad(x, [0, right, 0, down], mode="replicate")
    return x


class MSCA(nn.Module):
    """Multi-scale convolutional attention (SegNeXt, NeurIPS 2022, https://arxiv.org/abs/2209.08575).

    A depthwise 5x5, three pairs of depthwise strips on top of it, a 1x1 convolution over their sum; the
    result weights the input. (B,C,H,W) to the same shape.

    The attention is clamped to -``bound``..``bound``.
    """

    def __init__(self, channels: int, bound: float = math.inf) -> None:
        super().__init__()
        self.bound = float(bound)
        self.local = DepthwiseConv2d(channels, (5, 5))
        self.strips7 = _strips(channels, 7)
        self.strips11 = _strips(channels, 11)
        self.strips21 = _strips(channels, 21)
        self.mix = PointwiseConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        if not torch.jit.is_scripting():  # noqa: SIM102 - TorchScript would read the rest of one condition
            if is_fused() and math.isinf(self.bound):
                return self._fused(x)
        local = self.local(x)
        attention = (local + self.strips7(local)).add_(self.strips11(local)).add_(self.strips21(local))
        mix = self.mix(attention)
        if math.isfinite(self.bound):
            mix = mix.clamp(-self.bound, self.bound)
        return x * mix

    @torch.jit.unused
    def _fused(self, x: Tensor) -> Tensor:
        return msca(x, *self.parameters())


def _strips(channels: int, length: int) -> nn.Sequential:
    return nn.Sequential(
        DepthwiseConv2d(channels, (1, length)),
        DepthwiseConv2d(channels, (length, 1)),
    )


class NMF2d(nn.Module):
    """Low-rank reconstruction of a non-negative map by multiplicative updates.

    The Hamburger's "ham" (Geng et al., ICLR 2021, https://arxiv.org/abs/2109.04553): X ~ D C with D
    (channels x rank), C (rank x pixels). The gradient flows through the last coefficient update alone, as in
    the paper's one-step gradient. The published code draws the first D at random in each call, so that its
    results differ from run to run; ours is drawn once, from ``seed``.
    """

    bases: Tensor

    def __init__(
        self, channels: int, rank: int = 64, train_steps: int = 6, eval_steps: int = 7, seed: int = 0
    ) -> None:
        super().__init__()
        self.train_steps = train_steps
        self.eval_steps = eval_steps
        bases = torch.rand(channels, rank, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("bases", F.normalize(bases, dim=0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Non-negative (B,C,H,W) to the same shape; computed in float32 whatever autocast says."""
        if torch.jit.is_scripting():
            return self._reconstructed(x)
        return self._outside_autocast(x)

    @torch.jit.unused
    def _outside_autocast(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self._reconstructed(x)

    def _reconstructed(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        flat = x.reshape(batch, channels, height * width).float()
        steps = self.train_steps if self.training else self.eval_steps
        with torch.no_grad():
            bases = self.bases.float().unsqueeze(0).expand(batch, -1, -1)
            coefficients = torch.softmax(flat.transpose(1, 2) @ bases, dim=-1)
            for _ in range(steps):
                coefficients = _update_coefficients(flat, bases, coefficients)
                bases = _update_coefficients(flat.transpose(1, 2), coefficients, bases)
        coefficients = _update_coefficients(flat, bases, coefficients)
        return (bases @ coefficients.transpose(1, 2)).reshape(batch, channels, height, width).to(x.dtype)


def _update_coefficients(x: Tensor, bases: Tensor, coefficients: Tensor) -> Tensor:
    """One multiplicative update of C (B,N,R) for X (B,D,N) ~ D (B,D,R) C^T."""
    numerator = x.transpose(1, 2) @ bases
    denominator = coefficients @ (bases.transpose(1, 2) @ bases)
    return coefficients * numerator / (denominator + 1e-6)
