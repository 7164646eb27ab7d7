"""Wrappers of a network for evaluation: flip averaging, and noise on every picture."""

import torch
from torch import Tensor, nn

from lisa.face_parser import MEAN, STD
from lisa.labels import LabelSet


class FlipAveraged(nn.Module):
    """The mean of the network's logits for a picture and its mirror image, left and right channels swapped.

    (B,3,H,W) to logits (B,C,H,W), at twice the network's cost.
    """

    swapped: Tensor

    def __init__(self, network: nn.Module, labels: LabelSet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("swapped", torch.tensor(labels.flipped_ids), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) to logits (B,C,H,W)."""
        mirrored = self.network(x.flip(-1)).flip(-1)
        return (self.network(x) + mirrored[:, self.swapped]) / 2


class Noisy(nn.Module):
    """A network whose pictures carry Gaussian noise of ``deviation`` grey levels (of 255), clipped to 0..255.

    Normalised (B,3,size,size) to what the network makes of it. The noise is one field from a fixed seed, the
    same on every picture, so that no figure depends on their order or on the number of processes.
    """

    field: Tensor
    black: Tensor
    white: Tensor

    def __init__(self, network: nn.Module, size: int, deviation: float) -> None:
        super().__init__()
        self.network = network
        mean, std = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(STD).view(1, 3, 1, 1)
        field = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        field = (field * deviation / 255 / std).to(memory_format=torch.channels_last)
        self.register_buffer("field", field, persistent=False)
        self.register_buffer("black", -mean / std, persistent=False)
        self.register_buffer("white", (1 - mean) / std, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised (B,3,size,size) to the network's result."""
        return self.network((x + self.field).clamp(self.black, self.white))
