"""Rescales a LISA that learned without bounds, so that it can go on within narrow ones.

Without bounds attentions grow as they like, for BatchNorm takes their scale out again in the next block. A
narrow bound (``model.bound``) would cut them off. But their scale is free, channel by channel, and so is that
of the features which they multiply: what is taken from a factor is given back behind it.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from lisa.models.lisa import LISA, EncoderBlock


@torch.no_grad()
def rescale(network: LISA, pictures: Iterable[Tensor], largest: float) -> None:
    """Makes the network's products small: on these pictures both factors stay within ``largest``.

    ``pictures`` are (B,3,H,W), normalised; their logits are finite. The network has no bound, is in
    evaluation mode, and computes the same as before, but for rounding.
    """
    assert not network.training
    stages = [network.enc1, network.enc2, network.enc3, network.enc4, network.enc5]
    decoders = [network.dec1, network.dec2, network.dec3, network.dec4]
    blocks: list[EncoderBlock] = [block for stage in stages for block in stage]  # pyright: ignore
    with _watched(blocks) as found:
        for picture in pictures:
            network(picture)
    scales: list[Tensor] = []
    for block, (features, weights) in zip(blocks, found, strict=True):
        scales.append(_divide(block, _powers(features / largest), _powers(weights / largest)))
    for block, scale in zip(blocks[1:], scales, strict=False):
        _expect(block.unit.depthwise_norm, scale, first=0)
    ends = [sum(len(stage) for stage in stages[: number + 1]) - 1 for number in range(len(stages))]
    for decoder, end in zip(decoders, ends, strict=False):  # the skip comes last
        norm = decoder.unit.depthwise_norm
        _expect(norm, scales[end], first=norm.num_features - len(scales[end]))
    hamburger, scale = network.hamburger, scales[-1]
    hamburger.reduce.weight.mul_(_along(scale, hamburger.reduce.weight, 1))
    hamburger.expand.weight.div_(_along(scale, hamburger.expand.weight, 0))
    hamburger.expand.bias.div_(scale)  # pyright: ignore[reportOptionalMemberAccess]
    _expect(network.dec4.unit.depthwise_norm, scale, first=0)


@contextmanager
def _watched(blocks: list[EncoderBlock]) -> Generator[list[tuple[Tensor, Tensor]]]:
    """Per block the largest absolute values of the features and of what multiplies them, (C,) each.

    A block is u + MSCA(u) = u * (1 + attention), and the 1 is rescaled with the attention.
    """
    found = [(torch.zeros(len(b.msca.mix.weight)), torch.zeros(len(b.msca.mix.weight))) for b in blocks]
    handles = [
        handle
        for block, (features, weights) in zip(blocks, found, strict=True)
        for handle in (
            block.msca.register_forward_pre_hook(partial(_keep_features, features)),
            block.msca.mix.register_forward_hook(partial(_keep_weights, weights)),
        )
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _keep_features(largest: Tensor, _: nn.Module, inputs: tuple[Tensor]) -> None:
    torch.maximum(largest, inputs[0].abs().amax((0, 2, 3)), out=largest)


def _keep_weights(largest: Tensor, _: nn.Module, __: tuple[Tensor], attention: Tensor) -> None:
    torch.maximum(largest, (1 + attention).abs().amax((0, 2, 3)), out=largest)


def _powers(ratios: Tensor) -> Tensor:
    """The next power of two, which float16 holds as well; 1 for quiet channels, which may speak elsewhere."""
    return ratios.clamp_min(1.0).log2().ceil().exp2()


def _divide(block: EncoderBlock, features: Tensor, weights: Tensor) -> Tensor:
    """Divides the block's features and what multiplies them, (C,) each; returns what divides its output."""
    norm, msca = block.unit.pointwise_norm, block.msca
    norm.weight.div_(features)
    norm.bias.div_(features)
    msca.local.weight.mul_(_along(features, msca.local.weight, 0))
    msca.mix.weight.div_(_along(weights, msca.mix.weight, 0))
    bias = msca.mix.bias
    assert bias is not None
    bias.copy_((bias + 1) / weights - 1)
    return features * weights


def _expect(norm: nn.BatchNorm2d, scale: Tensor, first: int) -> None:
    """From channel ``first`` on, the convolution in front of the norm sees inputs divided by the scale."""
    channels = slice(first, first + len(scale))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    before = norm.running_var[channels] + norm.eps
    norm.running_mean[channels] /= scale
    norm.running_var[channels] /= scale**2
    # eps is not divided: the norm would come out a little smaller.
    norm.weight[channels] *= scale * ((norm.running_var[channels] + norm.eps) / before).sqrt()


def _along(scale: Tensor, weight: Tensor, dim: int) -> Tensor:
    """(C,) as it multiplies a weight's dimension."""
    shape = [1] * weight.dim()
    shape[dim] = -1
    return scale.view(shape)
