"""SegNeXt, the report's second baseline (Table 2; Guo et al., https://arxiv.org/abs/2209.08575).

MSCAN, an encoder of multi-scale convolutional attention at 1/4 to 1/32, and a light Hamburger head over its
last three stages. The report gives a count (1,992,819) and no widths: ours keep the tiny model's depths,
expansions and proportions (1 : 2 : 5 : 8) at 11/16 of its widths, with a head of half its width: 1,999,543
trainable parameters for 19 classes.
"""

from typing import Final

import torch
import torch.nn.functional as F
from timm.layers import DropPath  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from lisa.labels import NUM_CLASSES
from lisa.models.blocks import MSCA, NMF2d, pad_to_multiple
from lisa.models.kernels.depthwise import DepthwiseConv2d
from lisa.models.kernels.pointwise import PointwiseConv2d

WIDTHS = (22, 44, 110, 176)
DEPTHS = (3, 3, 5, 2)
EXPANSIONS = (8, 8, 4, 4)
HEAD_WIDTH = 128
DROP_PATH = 0.1
"""Chance that the last block is skipped in a training step; it rises linearly from 0 at the first."""
LAYER_SCALE = 1e-2


class Block(nn.Module):
    """Attention, then a convolutional MLP, each behind a BatchNorm and with a scaled shortcut."""

    recomputable = True

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        hidden = expansion * channels
        self.attention = nn.Sequential(
            nn.BatchNorm2d(channels),
            PointwiseConv2d(channels, channels),
            nn.GELU(),
            MSCA(channels),
            PointwiseConv2d(channels, channels),
        )
        self.mlp = nn.Sequential(
            nn.BatchNorm2d(channels),
            PointwiseConv2d(channels, hidden),
            DepthwiseConv2d(hidden, (3, 3)),
            nn.GELU(),
            PointwiseConv2d(hidden, channels),
        )
        self.attention_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.mlp_scale = nn.Parameter(torch.full((channels,), LAYER_SCALE))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        x = x + self.drop_path(self.attention_scale.view(-1, 1, 1) * self.attention(x))
        return x + self.drop_path(self.mlp_scale.view(-1, 1, 1) * self.mlp(x))


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) to the same shape."""
        normed = F.layer_norm(
            input.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.permute(0, 3, 1, 2)


class LightHamburger(nn.Module):
    """Stages 2 to 4 at stage 2's size, squeezed, decomposed, aligned (the paper's Figure 3d)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.squeeze = _normed_convolution(in_channels, channels)
        self.lower_bread = nn.Sequential(PointwiseConv2d(channels, channels), nn.ReLU(inplace=True))
        self.ham = NMF2d(channels)
        self.upper_bread = nn.Sequential(
            PointwiseConv2d(channels, channels, bias=False), nn.BatchNorm2d(channels)
        )
        self.align = _normed_convolution(channels, channels)

    def forward(self, s2: Tensor, s3: Tensor, s4: Tensor) -> Tensor:
        """The stages' features (B,*,h,w), (B,*,h/2,w/2), (B,*,h/4,w/4) to (B,channels,h,w)."""
        size = s2.shape[-2:]
        s3 = F.interpolate(s3, size=size, mode="bilinear", align_corners=False)
        s4 = F.interpolate(s4, size=size, mode="bilinear", align_corners=False)
        x = self.squeeze(torch.cat([s2, s3, s4], dim=1))
        return self.align(F.relu(x + self.upper_bread(self.ham(self.lower_bread(x)))))


class SegNeXt(nn.Module):
    """The network: (B,3,H,W) normalised RGB to logits (B,num_classes,H,W), any H and W.

    ``widths`` are the four stages' channels, ``head_width`` the Hamburger's. The matrix decomposition's start
    is fixed (:class:`~lisa.models.blocks.NMF2d`), so that results repeat.
    """

    stride: Final[int] = 32
    """Five strides of 2; other sizes are padded to a multiple of this."""

    def __init__(
        self, num_classes: int = NUM_CLASSES, widths: tuple[int, ...] = WIDTHS, head_width: int = HEAD_WIDTH
    ) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        rates = torch.linspace(0, DROP_PATH, sum(DEPTHS)).split(list(DEPTHS))
        drops = [rate.tolist() for rate in rates]
        stem = nn.Sequential(_halving(3, w1 // 2), nn.GELU(), _halving(w1 // 2, w1))
        self.stage1 = _stage(stem, w1, EXPANSIONS[0], drops[0])
        self.stage2 = _stage(_halving(w1, w2), w2, EXPANSIONS[1], drops[1])
        self.stage3 = _stage(_halving(w2, w3), w3, EXPANSIONS[2], drops[2])
        self.stage4 = _stage(_halving(w3, w4), w4, EXPANSIONS[3], drops[3])
        self.head = LightHamburger(w2 + w3 + w4, head_width)
        self.final = PointwiseConv2d(head_width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to logits (B,num_classes,H,W); sides not divisible by 32 are padded and cropped back."""
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, self.stride)
        s2 = self.stage2(self.stage1(x))
        s3 = self.stage3(s2)
        s4 = self.stage4(s3)
        logits = self.final(self.head(s2, s3, s4))
        logits = F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]


def _stage(embedding: nn.Module, channels: int, expansion: int, drops: list[float]) -> nn.Sequential:
    """Downsampling, then a block per drop rate, then the norm."""
    blocks = [Block(channels, expansion, drop) for drop in drops]
    return nn.Sequential(embedding, *blocks, ChannelNorm(channels))


def _halving(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1), nn.BatchNorm2d(out_channels)
    )


def _normed_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        PointwiseConv2d(in_channels, out_channels, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
