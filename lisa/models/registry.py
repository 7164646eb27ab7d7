"""The networks in timm's registry, and the one place that builds them for training, under the cap."""

from typing import Any

import timm
from timm.models import register_model
from torch import nn

from lisa.config import ModelConfig
from lisa.config.shapes import SHAPES
from lisa.errors import InputError
from lisa.labels import NUM_CLASSES
from lisa.models.auxiliary import AuxiliaryHeads
from lisa.models.lisa import LISA
from lisa.models.segnext import SegNeXt
from lisa.models.unet import UNet

NETWORKS = ("lisa", "lisa_fold4", "unet", "segnext")

# timm hands these to every entry point; networks trained from scratch have no use for them.
_TIMM_ARGUMENTS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def _own_arguments(pretrained: bool, arguments: dict[str, Any]) -> dict[str, Any]:
    if pretrained:
        raise InputError("there are no pretrained weights: the networks are trained from scratch")
    return {name: value for name, value in arguments.items() if name not in _TIMM_ARGUMENTS}


@register_model
def lisa(pretrained: bool = False, **arguments: Any) -> LISA:
    """``timm.create_model("lisa", num_classes=19, activation="prelu", hamburger="bottleneck")``."""
    return LISA(**_own_arguments(pretrained, arguments))


@register_model
def lisa_fold4(pretrained: bool = False, **arguments: Any) -> LISA:
    """``timm.create_model("lisa_fold4", num_classes=19, ...)``: LISA on squares of 4x4 pixels, and wider."""
    shape = SHAPES["lisa_fold4"]._asdict()
    return LISA(**shape | _own_arguments(pretrained, arguments))


@register_model
def unet(pretrained: bool = False, **arguments: Any) -> UNet:
    """``timm.create_model("unet", num_classes=19)``."""
    return UNet(**_own_arguments(pretrained, arguments))


@register_model
def segnext(pretrained: bool = False, **arguments: Any) -> SegNeXt:
    """``timm.create_model("segnext", num_classes=19)``."""
    return SegNeXt(**_own_arguments(pretrained, arguments))


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def build(config: ModelConfig, num_classes: int = NUM_CLASSES) -> nn.Module:
    """The network of the config, freshly initialised. Raises InputError at or above the cap (contract 6)."""
    if config.name not in NETWORKS:
        raise InputError(f"model.name = {config.name!r}: one of {', '.join(NETWORKS)}")
    arguments: dict[str, Any] = {"num_classes": num_classes}
    if config.name in SHAPES:
        shape = ("activation", "hamburger", "hamburger_ratio", "widths", "depths")
        arguments |= {name: getattr(config, name) for name in shape}
    network: nn.Module = timm.create_model(config.name, **arguments)
    if config.auxiliary:
        assert isinstance(network, LISA)
        network = AuxiliaryHeads(network)
    count = count_parameters(network)
    if count >= config.max_parameters:
        raise InputError(
            f"{config} has {count:,} trainable parameters, the cap is {config.max_parameters:,}: "
            "choose a smaller network or raise model.max_parameters"
        )
    return network
