"""Networks, one file each, built through timm's registry under the parameter cap."""

from lisa.models.lisa import LISA
from lisa.models.published import from_published
from lisa.models.registry import NETWORKS, build, count_parameters
from lisa.models.segnext import SegNeXt
from lisa.models.unet import UNet

__all__ = [
    "LISA",
    "NETWORKS",
    "SegNeXt",
    "UNet",
    "build",
    "count_parameters",
    "from_published",
]
