"""Test-time augmentation: what a network says of a picture and of its mirror image, averaged."""

import torch
from torch import Tensor, nn

from lisa.labels import FLIPPED_IDS


class FlipAveraged(nn.Module):
    """The mean of the network's logits for a picture and its mirror image, left and right channels swapped.

    (B,3,H,W) to logits (B,19,H,W), at twice the network's cost.
    """

    swapped: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("swapped", torch.tensor(FLIPPED_IDS), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to logits (B,19,H,W)."""
        mirrored = self.network(x.flip(-1)).flip(-1)
        return (self.network(x) + mirrored[:, self.swapped]) / 2
