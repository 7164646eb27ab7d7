"""Bounds on what LISA multiplies, so that no photograph explodes.

MSCA multiplies its input by a linear map of itself: high contrast at all scales (lace, letters, checks) grows
as a square from block to block, until a whole label map is nonsense. So both factors of each product are
clamped at the largest values that ordinary pictures show. Ordinary pictures are parsed as before. A network
that was trained within bounds (model.bound) keeps these too.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lisa.evaluation.evaluate import SANE_LOGIT
from lisa.face_parser import FaceParser
from lisa.models.blocks import MSCA
from lisa.models.lisa import LISA


class Bound(NamedTuple):
    """The largest absolute values of one MSCA's two factors."""

    features: float
    """Of its input, which is one factor."""
    mix: float
    """Of the attention, which is the other one."""


UNBOUNDED = Bound(math.inf, math.inf)


class Measured(NamedTuple):
    """What ordinary pictures show."""

    bounds: list[Bound]
    """One for each MSCA of a LISA, in the order of its modules; none for other networks."""
    sane: list[bool]
    """Of each picture, whether it is ordinary: one whose logits explode says nothing of the others."""


def measure_bounds(parser: FaceParser, pictures: Sequence[Tensor]) -> Measured:
    """The largest factors on those of the pictures whose logits are sane; on all of them if none is.

    ``pictures`` are (1,3,H,W) uint8, of the kind that the network was trained on.
    """
    if not isinstance(parser.network, LISA):
        return Measured([], [True] * len(pictures))
    blocks = [module for module in parser.network.modules() if isinstance(module, MSCA)]
    largest = torch.zeros(len(blocks), 2)
    handles = [
        handle
        for index, block in enumerate(blocks)
        for handle in (
            block.register_forward_pre_hook(_watch_input(largest[index])),
            block.mix.register_forward_hook(_watch_output(largest[index])),
        )
    ]
    found, sane = list[Tensor](), list[bool]()
    try:
        with torch.inference_mode():
            for picture in pictures:
                largest.zero_()
                sane.append(bool(parser.logits(picture).abs().max() <= SANE_LOGIT))  # nan is not
                found.append(largest.clone())
    finally:
        for handle in handles:
            handle.remove()
    ordinary = [each for each, is_sane in zip(found, sane, strict=True) if is_sane] or found
    own = torch.tensor([block.bound for block in blocks])[:, None]
    return Measured([Bound(*row) for row in torch.stack(ordinary).amax(0).minimum(own).tolist()], sane)


def _watch_input(largest: Tensor) -> Any:
    def watch(module: nn.Module, inputs: tuple[Tensor]) -> None:
        largest[0] = torch.maximum(largest[0], inputs[0].abs().max())

    return watch


def _watch_output(largest: Tensor) -> Any:
    def watch(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        largest[1] = torch.maximum(largest[1], output.abs().max())

    return watch
