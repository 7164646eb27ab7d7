"""UNet, the report's first baseline (Table 2; Ronneberger et al., https://arxiv.org/abs/1505.04597).

Double 3x3 convolutions, a 2x2 max-pool between stages on the way down, a 2x2 transposed convolution and the
skip's concatenation on the way up. Unlike the paper's, the convolutions are padded and have BatchNorm. The
report gives a count (1,999,011) and no widths: ours double up to the bottleneck, where 12 x 18 is what the
count leaves, 1,996,741 trainable parameters for 19 classes.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.labels import NUM_CLASSES
from lisa.models.blocks import pad_to_multiple

WIDTHS = (18, 36, 72, 144, 216)


class DoubleConvolution(nn.Sequential):
    """3x3 convolution, BatchNorm, ReLU, twice."""

    recomputable = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class UpBlock(nn.Module):
    """Transposed convolution to twice the size, concatenation with the skip, double convolution."""

    def __init__(self, in_channels: int, skip_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, skip_channels, 2, stride=2)
        self.convolutions = DoubleConvolution(2 * skip_channels, skip_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B,in,H/2,W/2) and the skip (B,skip,H,W) to (B,skip,H,W)."""
        return self.convolutions(torch.cat([self.up(x), skip], dim=1))


class UNet(nn.Module):
    """The network: (B,3,H,W) normalised RGB to logits (B,num_classes,H,W), any H and W.

    ``widths`` are the channels of the four stages and the bottleneck.
    """

    stride: Final[int] = 16
    """Four max-pools; other sizes are padded to a multiple of this."""

    def __init__(self, num_classes: int = NUM_CLASSES, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        w1, w2, w3, w4, w5 = widths
        self.down1 = DoubleConvolution(3, w1)
        self.down2 = DoubleConvolution(w1, w2)
        self.down3 = DoubleConvolution(w2, w3)
        self.down4 = DoubleConvolution(w3, w4)
        self.bottom = DoubleConvolution(w4, w5)
        self.up4 = UpBlock(w5, w4)
        self.up3 = UpBlock(w4, w3)
        self.up2 = UpBlock(w3, w2)
        self.up1 = UpBlock(w2, w1)
        self.final = nn.Conv2d(w1, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to logits (B,num_classes,H,W); sides not divisible by 16 are padded and cropped back."""
        height, width = x.shape[-2:]
        d1 = self.down1(pad_to_multiple(x, self.stride))
        d2 = self.down2(F.max_pool2d(d1, 2))
        d3 = self.down3(F.max_pool2d(d2, 2))
        d4 = self.down4(F.max_pool2d(d3, 2))
        x = self.bottom(F.max_pool2d(d4, 2))
        x = self.up1(self.up2(self.up3(self.up4(x, d4), d3), d2), d1)
        return self.final(x)[..., :height, :width]
