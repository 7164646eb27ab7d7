"""LISA rewritten for inference: the same function in fewer passes over memory.

On a CPU most of the time goes into reading and writing feature maps, so every pass that algebra can remove
is removed, once, at export:

- BatchNorm disappears into the convolution before it.
- The encoder block's ``u + u * mix(s)`` becomes ``u * mix'(s)``: mix' has 1 more in its bias.
- The decoder's concatenation is never made: depthwise convolution and activation treat channels one by one,
  and the pointwise convolution of a concatenation is the sum of two pointwise convolutions.
- The last pointwise convolution, its BatchNorm and the classifier are linear: one convolution.

Sums and products write new maps: in place, torch's bfloat16 kernels take twice as long on the CPU.

One thing is added: bounds on the factors of each product (:mod:`deploy.bounds`).

Each has a test that proves it equal to the trained network. Other networks are exported as they are.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deploy.bounds import UNBOUNDED, Bound
from lisa.models.blocks import MSCA
from lisa.models.kernels.depthwise import hangs_in_bf16
from lisa.models.kernels.prelu import prelu_over_rows
from lisa.models.lisa import LISA, DecoderBlock, EncoderBlock, Hamburger, SeparableUnit

VECTOR = 32
"""bfloat16 values in the widest CPU vector."""


def for_inference(network: nn.Module, bounds: Sequence[Bound] = ()) -> nn.Module:
    """The network as it is exported: rewritten if it is LISA, its products within ``bounds`` if there are."""
    return InferenceLISA(network, bounds) if isinstance(network, LISA) else network


class Convolution(nn.Module):
    """Stride 1, "same" padding, channels_last weights.

    With ``onednn`` set (the predictor does, on CPUs) oneDNN is called by name: torch.conv2d leaves 1x1
    convolutions on one thread to the BLAS library, whose rate is less than half of oneDNN's on AMD.
    """

    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, groups: int = 1) -> None:
        super().__init__()
        weight = weight.detach().clone(memory_format=torch.channels_last)
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.groups = groups
        self.padding = [weight.shape[2] // 2, weight.shape[3] // 2]
        self.onednn = False
        self.hangs = hangs_in_bf16(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in,H,W) to (B,out,H,W)."""
        if self.hangs and x.dtype == torch.bfloat16:
            bias = self.bias
            return torch.conv2d(
                x.float(),
                self.weight.float(),
                None if bias is None else bias.float(),
                [1, 1],
                self.padding,
                [1, 1],
                self.groups,
            ).to(x.dtype)
        if self.onednn:
            return torch.mkldnn_convolution(
                x, self.weight, self.bias, self.padding, [1, 1], [1, 1], self.groups
            )
        return torch.conv2d(x, self.weight, self.bias, [1, 1], self.padding, [1, 1], self.groups)


class RowPReLU(nn.Module):
    """:func:`lisa.models.kernels.prelu.prelu_over_rows` as a module."""

    def __init__(self, slopes: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(slopes.detach().clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        return prelu_over_rows(x, self.weight)


def fold_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight (out,in/groups,h,w) and bias (out,), fp32, of the convolution that does both.

    The convolution itself has no bias.
    """
    assert convolution.bias is None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = convolution.weight.double() * scale.view(-1, 1, 1, 1)
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return weight.float(), bias.float()


def _depthwise(convolution: nn.Conv2d) -> Convolution:
    return Convolution(convolution.weight, convolution.bias, groups=convolution.groups)


def _activation(activation: nn.Module, channels: slice) -> nn.Module:
    """The activation of some of its channels."""
    if not isinstance(activation, nn.PReLU):
        return activation
    slopes = activation.weight.detach()[channels]
    if len(slopes) % VECTOR:
        return RowPReLU(slopes)
    part = nn.PReLU(len(slopes))
    part.weight = nn.Parameter(slopes.clone(), requires_grad=False)
    return part


class DepthwisePart(nn.Sequential):
    """Depthwise convolution with its BatchNorm, and activation, of some of a unit's channels."""

    def __init__(self, unit: SeparableUnit, channels: slice) -> None:
        weight, bias = fold_norm(unit.depthwise, unit.depthwise_norm)
        super().__init__(
            Convolution(weight[channels], bias[channels], groups=len(bias[channels])),
            _activation(unit.activation, channels),
        )


class InferenceMSCA(nn.Module):
    """``x + msca(x)`` of an encoder block; ``bound`` limits both factors of the product."""

    def __init__(self, msca: MSCA, bound: Bound) -> None:
        super().__init__()
        self.bounded = bound != UNBOUNDED
        self.features, self.lowest, self.highest = bound.features, 1 - bound.mix, 1 + bound.mix
        assert msca.mix.bias is not None
        self.local = _depthwise(msca.local)
        self.strips7 = nn.Sequential(*[_depthwise(strip) for strip in msca.strips7])  # pyright: ignore
        self.strips11 = nn.Sequential(*[_depthwise(strip) for strip in msca.strips11])  # pyright: ignore
        self.strips21 = nn.Sequential(*[_depthwise(strip) for strip in msca.strips21])  # pyright: ignore
        self.mix = Convolution(msca.mix.weight, msca.mix.bias + 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        if self.bounded:
            x = x.clamp(-self.features, self.features)
        local = self.local(x)
        attention = self.strips7(local) + self.strips11(local)
        attention = attention + self.strips21(local)
        attention = attention + local
        mix = self.mix(attention)
        if self.bounded:
            mix = mix.clamp(self.lowest, self.highest)
        return mix * x


class InferenceBlock(nn.Sequential):
    """An encoder block; ``bound`` and the trained block's own both hold."""

    def __init__(self, block: EncoderBlock, bound: Bound = UNBOUNDED) -> None:
        bound = Bound(*[min(block.bound, limit) for limit in bound])
        super().__init__(
            DepthwisePart(block.unit, slice(None)),
            Convolution(*fold_norm(block.unit.pointwise, block.unit.pointwise_norm)),
            InferenceMSCA(block.msca, bound),
        )


class InferenceDecoder(nn.Module):
    """A decoder block without its concatenation; with ``classifier``, the block and the classifier."""

    def __init__(self, block: DecoderBlock, below: int, classifier: nn.Conv2d | None = None) -> None:
        super().__init__()
        unit = block.unit
        weight, bias = fold_norm(unit.pointwise, unit.pointwise_norm)
        if classifier is not None:
            weight, bias = _then(weight, bias, classifier)
        self.below = DepthwisePart(unit, slice(0, below))
        self.skip = DepthwisePart(unit, slice(below, None))
        self.project_below = Convolution(weight[:, :below], bias)
        self.project_skip = Convolution(weight[:, below:], None)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B,below,H/2,W/2) and the skip (B,C,H,W) to (B,out,H,W)."""
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
        return self.project_below(self.below(x)) + self.project_skip(self.skip(skip))


def _then(weight: Tensor, bias: Tensor, last: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a 1x1 convolution followed by another."""
    assert last.bias is not None
    matrix = last.weight.detach()[:, :, 0, 0].double()
    merged = matrix @ weight[:, :, 0, 0].double()
    return merged[:, :, None, None].float(), (matrix @ bias.double() + last.bias.double()).float()


class InferenceHamburger(nn.Module):
    """The Hamburger, on :class:`Convolution`."""

    def __init__(self, hamburger: Hamburger) -> None:
        super().__init__()
        self.reduce = Convolution(hamburger.reduce.weight, hamburger.reduce.bias)
        self.ham = hamburger.ham
        self.inner = Convolution(hamburger.inner.weight, hamburger.inner.bias)
        self.expand = Convolution(hamburger.expand.weight, hamburger.expand.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        inner = self.ham(self.reduce(x).relu_())
        return self.expand(self.inner(inner).relu_()) + x


class InferenceLISA(nn.Module):
    """:class:`lisa.models.lisa.LISA` after all rewrites."""

    def __init__(self, network: LISA, bounds: Sequence[Bound] = ()) -> None:
        super().__init__()
        self.stride = network.stride
        self.fold = network.fold
        bound = iter(bounds) if bounds else repeat(UNBOUNDED)
        self.enc1 = _stage(network.enc1, bound)
        self.enc2 = _stage(network.enc2, bound)
        self.enc3 = _stage(network.enc3, bound)
        self.enc4 = _stage(network.enc4, bound)
        self.enc5 = _stage(network.enc5, bound)
        self.hamburger = InferenceHamburger(network.hamburger)
        self.dec4 = InferenceDecoder(network.dec4, network.hamburger.expand.out_channels)
        self.dec3 = InferenceDecoder(network.dec3, network.dec4.unit.pointwise.out_channels)
        self.dec2 = InferenceDecoder(network.dec2, network.dec3.unit.pointwise.out_channels)
        self.dec1 = InferenceDecoder(network.dec1, network.dec2.unit.pointwise.out_channels, network.final)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) normalised RGB to logits (B,classes,H,W)."""
        height, width = x.shape[-2:]
        down, right = -height % self.stride, -width % self.stride
        if down > 0 or right > 0:
            x = F.pad(x, [0, right, 0, down], mode="replicate")
        if self.fold > 1:
            x = F.pixel_unshuffle(x, self.fold)
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool2d(e1, 2))
        e3 = self.enc3(F.max_pool2d(e2, 2))
        e4 = self.enc4(F.max_pool2d(e3, 2))
        e5 = self.hamburger(self.enc5(F.max_pool2d(e4, 2)))
        logits = self.dec1(self.dec2(self.dec3(self.dec4(e5, e4), e3), e2), e1)
        if self.fold > 1:
            logits = F.pixel_shuffle(logits, self.fold)
        return logits[..., :height, :width]


def _stage(stage: nn.Sequential, bounds: Iterator[Bound]) -> nn.Sequential:
    return nn.Sequential(*[InferenceBlock(block, next(bounds)) for block in stage])  # pyright: ignore
