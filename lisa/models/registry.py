"""The networks in timm's registry, and the one place that builds them for training, under the cap."""

import inspect
import math
from typing import Any

import timm
from timm.models import register_model
from torch import Tensor, nn

from lisa.config import ModelConfig
from lisa.config.shapes import SHAPES
from lisa.errors import InputError
from lisa.face_parser import MEAN, STD
from lisa.labels import NUM_CLASSES
from lisa.models.classifier import CLASSIFIER
from lisa.models.lisa import LISA
from lisa.models.segnext import SegNeXt
from lisa.models.unet import UNet
from lisa.weights import DRAWN_FILE
from lisa.weights.packed import read_packed

NETWORKS = ("lisa", "lisa_fold4", "unet", "segnext")

_OTHERWISE = "the weights in the box are those of LISA as it is by default"

# timm hands these to every entry point; networks trained from scratch have no use for them.
_TIMM_ARGUMENTS = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")


def _own_arguments(
    network: type[nn.Module], arguments: dict[str, Any], pretrained: bool = False
) -> dict[str, Any]:
    """What is the network's own. Raises InputError for what timm's classifiers take and it does not."""
    if pretrained:
        raise InputError("there are pretrained weights for lisa alone")
    own = {name: value for name, value in arguments.items() if name not in _TIMM_ARGUMENTS}
    known = inspect.signature(network).parameters
    unknown = [name for name in own if name not in known]
    if unknown:
        raise InputError(f"{network.__name__} takes no {unknown[0]}, it takes {', '.join(known)}")
    if own.get("num_classes", NUM_CLASSES) < 1:
        raise InputError(f"num_classes {own['num_classes']}: without classes it has no output")
    return own


@register_model
def lisa(pretrained: bool = False, **arguments: Any) -> LISA:
    """``timm.create_model("lisa", num_classes=19, activation="prelu", hamburger="bottleneck")``.

    ``pretrained=True`` gives the weights in the box, trained on drawn faces alone: MIT, like the code. As in
    timm, another number of classes begins the classifier afresh.
    """
    network = LISA(**_own_arguments(LISA, arguments))
    if pretrained:
        if arguments.get("hamburger", "bottleneck") != "bottleneck":  # its weights have the same names
            raise InputError(f"pretrained=True: {_OTHERWISE}")
        _load_drawn(network)
    return network


def _load_drawn(network: LISA) -> None:
    """Gives a network the weights in the box, and timm what they were trained with (``pretrained_cfg``).

    Raises InputError for a network of another shape.
    """
    packed = read_packed(DRAWN_FILE)
    weights: dict[str, Tensor] = packed["weights"]
    own = network.state_dict()
    if weights[CLASSIFIER[0]].shape[0] != network.final.out_channels:
        weights |= {key: own[key] for key in CLASSIFIER}
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        raise InputError(f"pretrained=True: {_OTHERWISE}")
    network.load_state_dict(weights)
    size = packed["config"]["data"]["size"]
    trained_with = {
        "input_size": (3, size, size),
        "mean": MEAN,
        "std": STD,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",  # stretched, as in training
        "num_classes": network.final.out_channels,
        "license": "mit",
    }
    network.pretrained_cfg = trained_with  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


@register_model
def lisa_fold4(pretrained: bool = False, **arguments: Any) -> LISA:
    """``timm.create_model("lisa_fold4", num_classes=19, ...)``: LISA on squares of 4x4 pixels, and wider."""
    shape = SHAPES["lisa_fold4"]._asdict()
    return LISA(**shape | _own_arguments(LISA, arguments, pretrained))


@register_model
def unet(pretrained: bool = False, **arguments: Any) -> UNet:
    """``timm.create_model("unet", num_classes=19)``."""
    return UNet(**_own_arguments(UNet, arguments, pretrained))


@register_model
def segnext(pretrained: bool = False, **arguments: Any) -> SegNeXt:
    """``timm.create_model("segnext", num_classes=19)``."""
    return SegNeXt(**_own_arguments(SegNeXt, arguments, pretrained))


def count_parameters(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def build(config: ModelConfig, num_classes: int = NUM_CLASSES) -> nn.Module:
    """The network of the config, freshly initialised. Raises InputError at or above the cap."""
    if config.name not in NETWORKS:
        raise InputError(f"model.name = {config.name!r}: one of {', '.join(NETWORKS)}")
    arguments: dict[str, Any] = {"num_classes": num_classes}
    if config.name in SHAPES:
        shape = ("activation", "hamburger", "hamburger_ratio", "widths", "depths")
        arguments |= {name: getattr(config, name) for name in shape}
        arguments["bound"] = config.bound or math.inf
    network: nn.Module = timm.create_model(config.name, **arguments)
    count = count_parameters(network)
    if count >= config.max_parameters:
        raise InputError(
            f"{config} has {count:,} trainable parameters, the cap is {config.max_parameters:,}: "
            "choose a smaller network or raise model.max_parameters"
        )
    return network
