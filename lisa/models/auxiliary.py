"""Auxiliary classifiers on LISA's decoder stages, in training alone (deep supervision, AISTATS 2015)."""

import torch.nn.functional as F
from torch import Tensor, nn

from lisa.models.blocks import pad_to_multiple
from lisa.models.kernels.pointwise import PointwiseConv2d
from lisa.models.lisa import LISA


class AuxiliaryHeads(nn.Module):
    """A LISA with a 1x1 classifier on each of its lower decoder stages; ``network`` is the LISA itself."""

    def __init__(self, network: LISA) -> None:
        super().__init__()
        self.network = network
        channels = [block.unit.pointwise.out_channels for block in (network.dec4, network.dec3, network.dec2)]
        self.heads = nn.ModuleList(PointwiseConv2d(width, network.num_classes) for width in channels)

    def forward(self, x: Tensor) -> list[Tensor] | Tensor:
        """(B,3,H,W) to logits (B,classes,H,W): the network's, and in training each head's behind them."""
        if not self.training:
            return self.network(x)
        features = self.network.decode(pad_to_multiple(x, self.network.stride))
        outputs = [self.network.classify(features[-1])]
        for head, feature in zip(self.heads, features, strict=False):
            outputs.append(F.interpolate(head(feature), outputs[0].shape[-2:], mode="bilinear"))
        return [logits[..., : x.shape[2], : x.shape[3]] for logits in outputs]


def deployable(network: nn.Module) -> nn.Module:
    """Returns the network without its auxiliary heads, which is evaluated and exported."""
    return network.network if isinstance(network, AuxiliaryHeads) else network
