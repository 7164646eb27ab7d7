"""From a picture to its label map: training evaluates this module, and the exported file runs it."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's statistics, for RGB in 0..1."""


class FaceParser(nn.Module):
    """Takes uint8 RGB and returns uint8 label ids at the same size; resizing and normalising are inside.

    ``network`` maps normalised (B,3,size,size) to logits (B,classes,size,size). Pictures of any size and
    aspect are stretched to the ``size`` x ``size`` pixels that the network was trained at.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255, persistent=False)

    @classmethod
    def for_prediction(cls, network: nn.Module, size: int, device: torch.device | str = "cpu") -> Self:
        """Wraps a trained network in eval mode on the device."""
        return cls(network, size).to(device).eval()

    def forward(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to (B,H,W) uint8."""
        return argmax_at(self.logits(images), images.shape[2], images.shape[3])

    def logits(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to float32 logits (B,classes,size,size), at the network's own resolution."""
        x = images.float()
        if images.shape[2] != self.size or images.shape[3] != self.size:
            x = F.interpolate(x, size=[self.size, self.size], mode="bilinear", antialias=True)
        return self.network(self.normalise(x)).float()

    def normalise(self, images: Tensor) -> Tensor:
        """(B,3,H,W) RGB in 0..255 to the network's input, float32 channels_last."""
        x = (images.float() - self.mean) / self.std
        # A clone: contiguous() may keep a single picture's odd batch stride, and every later layer would take
        # it for the other layout.
        return x.clone(memory_format=torch.channels_last)


def argmax_at(logits: Tensor, height: int, width: int) -> Tensor:
    """Class of the largest logit after bilinear resizing: (B,C,h,w) float to (B,height,width) uint8."""
    if logits.shape[2] == height and logits.shape[3] == width:
        # The first of equal maxima, as argmax gives it, in two thirds of its time on the CPU.
        return logits.max(dim=1)[1].to(torch.uint8)
    return argmax_resized(logits, height, width)


def argmax_resized(logits: Tensor, height: int, width: int) -> Tensor:
    """:func:`argmax_at` for any size.

    One class at a time, so that a large picture needs three planes of memory and not one for each class.
    """
    best = _resized(logits, 0, height, width)
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for index in range(1, logits.shape[1]):
        plane = _resized(logits, index, height, width)
        larger = plane > best
        labels.masked_fill_(larger, index)
        best = torch.maximum(best, plane)
    return labels[:, 0]


def _resized(logits: Tensor, index: int, height: int, width: int) -> Tensor:
    plane = logits[:, index : index + 1]
    return F.interpolate(plane, size=[height, width], mode="bilinear", align_corners=False)
