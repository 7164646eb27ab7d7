"""LISA, the Lightweight SkipNeXt for face parsing (the report's Section 2.2, Table 1, Figures 2 and 3).

Five encoder stages of depthwise separable units with multi-scale attention, a Hamburger at 1/16, four decoder
stages over skip connections, one 1x1 classifier: exactly 1,999,551 trainable parameters for 19 classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.config.parameter_count import hamburger_width
from lisa.config.shapes import DEPTHS, HAMBURGER_RATIO, SHAPES
from lisa.labels import NUM_CLASSES
from lisa.models.blocks import MSCA, NMF2d, make_activation, pad_to_multiple
from lisa.models.kernels.depthwise import DepthwiseConv2d
from lisa.models.kernels.pointwise import PointwiseConv2d
from lisa.models.kernels.upsample import BilinearUpsample

HAMBURGERS = ("bottleneck", "nmf")


class SeparableUnit(nn.Module):
    """Depthwise 3x3, BatchNorm, activation, pointwise 1x1, BatchNorm; no residual, no activation after it."""

    def __init__(self, in_channels: int, out_channels: int, activation: str) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(in_channels, (3, 3), bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_channels)
        self.activation = make_activation(activation, in_channels)
        self.pointwise = PointwiseConv2d(in_channels, out_channels, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in,H,W) to (B,out,H,W)."""
        x = self.activation(self.depthwise_norm(self.depthwise(x)))
        return self.pointwise_norm(self.pointwise(x))


class EncoderBlock(nn.Module):
    """u = unit(x); u + MSCA(u) (Figure 2).

    MSCA multiplies u with a linear map of u, which has no bound. A finite ``bound`` clamps both factors.
    """

    recomputable = True

    def __init__(self, in_channels: int, out_channels: int, activation: str, bound: float) -> None:
        super().__init__()
        self.unit = SeparableUnit(in_channels, out_channels, activation)
        self.bound = float(bound)
        self.msca = MSCA(out_channels, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(B,in,H,W) to (B,out,H,W)."""
        x = self.unit(x)
        if math.isfinite(self.bound):
            x = x.clamp(-self.bound, self.bound)
        return self.msca(x).add_(x)


class Hamburger(nn.Module):
    """Three 1x1 convolutions around a bottleneck, plus the input.

    As published there is nothing between the "breads". With ``decompose`` the matrix decomposition that the
    report cites (:class:`~lisa.models.blocks.NMF2d`, no parameters) stands between the first and the second.
    """

    def __init__(self, channels: int, inner: int, decompose: bool) -> None:
        super().__init__()
        self.reduce = PointwiseConv2d(channels, inner)
        self.ham = NMF2d(inner) if decompose else nn.Identity()
        self.inner = PointwiseConv2d(inner, inner)
        self.expand = PointwiseConv2d(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        inner = self.ham(F.relu(self.reduce(x)))
        return x + self.expand(F.relu(self.inner(inner)))


class DecoderBlock(nn.Module):
    """Bilinear upsampling to the skip's size, concatenation, one separable unit (Figure 3)."""

    recomputable = True

    def __init__(self, in_channels: int, skip_channels: int, activation: str) -> None:
        super().__init__()
        self.upsample = BilinearUpsample()
        self.unit = SeparableUnit(in_channels + skip_channels, skip_channels, activation)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B,in,H/2,W/2) and the skip (B,skip,H,W) to (B,skip,H,W)."""
        x = self.upsample(x, skip.shape[2], skip.shape[3])
        return self.unit(torch.cat([x, skip], dim=1))


class LISA(nn.Module):
    """The network: (B,3,H,W) normalised RGB to logits (B,num_classes,H,W), any H and W.

    ``activation`` is one of prelu, relu, gelu (Table 5). ``hamburger`` is "bottleneck" (as published) or
    "nmf", ``hamburger_ratio`` its inner channels as a share of the fifth stage's. ``widths`` and ``depths``
    are the five stages' channels and blocks (Table 1);
    :func:`lisa.config.parameter_count.count_lisa` counts them all. ``bound`` clamps both factors of each
    product (:class:`EncoderBlock`).

    With ``fold`` above 1, squares of fold x fold pixels are folded into the channels of one pixel in front of
    the network, and the classifier gives each of their pixels its own logits (Shi et al., CVPR 2016,
    https://arxiv.org/abs/1609.05158). All stages then work on maps of a fold**2-th of the pixels.
    """

    stride: int
    """The encoder halves the folded picture four times; other sizes are padded to a multiple of this."""

    def __init__(
        self,
        num_classes: int = NUM_CLASSES,
        activation: str = "prelu",
        hamburger: str = "bottleneck",
        widths: tuple[int, ...] = SHAPES["lisa"].widths,
        depths: tuple[int, ...] = DEPTHS,
        hamburger_ratio: float = HAMBURGER_RATIO,
        fold: int = 1,
        bound: float = math.inf,
    ) -> None:
        super().__init__()
        if bound <= 0:
            raise ValueError(f"bound {bound}: above 0; inf for none")
        if hamburger not in HAMBURGERS:
            raise ValueError(f"hamburger {hamburger!r} is not one of {', '.join(HAMBURGERS)}")
        w1, w2, w3, w4, w5 = widths
        d1, d2, d3, d4, d5 = depths
        self.fold = fold
        self.stride = 16 * fold
        self.enc1 = _stage(3 * fold**2, w1, d1, activation, bound)
        self.enc2 = _stage(w1, w2, d2, activation, bound)
        self.enc3 = _stage(w2, w3, d3, activation, bound)
        self.enc4 = _stage(w3, w4, d4, activation, bound)
        self.enc5 = _stage(w4, w5, d5, activation, bound)
        self.hamburger = Hamburger(w5, hamburger_width(w5, hamburger_ratio), decompose=hamburger == "nmf")
        self.dec4 = DecoderBlock(w5, w4, activation)
        self.dec3 = DecoderBlock(w4, w3, activation)
        self.dec2 = DecoderBlock(w3, w2, activation)
        self.dec1 = DecoderBlock(w2, w1, activation)
        self.final = PointwiseConv2d(w1, num_classes * fold**2)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to logits (B,num_classes,H,W), of padded pictures cropped back."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.stride)
        if self.fold > 1:
            x = F.pixel_unshuffle(x, self.fold)
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool2d(e1, 2))
        e3 = self.enc3(F.max_pool2d(e2, 2))
        e4 = self.enc4(F.max_pool2d(e3, 2))
        e5 = self.hamburger(self.enc5(F.max_pool2d(e4, 2)))
        d4 = self.dec4(e5, e4)
        d3 = self.dec3(d4, e3)
        d2 = self.dec2(d3, e2)
        logits = self.final(self.dec1(d2, e1))
        if self.fold > 1:
            logits = F.pixel_shuffle(logits, self.fold)
        return logits[..., :height, :width]


def _stage(in_channels: int, out_channels: int, depth: int, activation: str, bound: float) -> nn.Sequential:
    blocks = [EncoderBlock(in_channels, out_channels, activation, bound)]
    blocks += [EncoderBlock(out_channels, out_channels, activation, bound) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
