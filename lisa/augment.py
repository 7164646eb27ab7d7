"""Augmentation with Kornia on the batch's device: the same geometry for picture and mask, exact on masks."""

from typing import Any

import kornia.augmentation as K
import torch
from kornia.augmentation.base import _AugmentationBase  # pyright: ignore[reportPrivateUsage]
from kornia.constants import DataKey, Resample, SamplePadding
from torch import Tensor, nn

from lisa.config import AugmentConfig
from lisa.labels import FLIPPED_IDS, IGNORE_INDEX


class Augmentation(nn.Module):
    """Flip with the swap of left and right labels, one affine, colour jitter.

    Draws from torch's global CPU generator: seed it for reproducible batches. Runs outside autocast, which
    would corrupt the masks. Pixels that an affine moves in from outside become ``IGNORE_INDEX`` in the mask.
    """

    flipped_ids: Tensor

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        operations = _operations(config)
        self.pipeline = (
            K.AugmentationSequential(
                *operations,
                data_keys=["input", "mask"],
                extra_args={
                    DataKey.MASK: {
                        "resample": Resample.NEAREST,
                        "align_corners": None,
                        "padding_mode": SamplePadding.FILL,
                        "fill_value": torch.tensor([float(IGNORE_INDEX)]),
                    }
                },
            )
            if operations
            else None
        )
        table = torch.arange(256, dtype=torch.uint8)
        table[: len(FLIPPED_IDS)] = torch.tensor(FLIPPED_IDS, dtype=torch.uint8)
        self.register_buffer("flipped_ids", table, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) uint8 and (B,H,W) uint8 to float32 pictures in 0..255 and uint8 masks."""
        if self.pipeline is None:
            return images.float(), masks
        with torch.autocast(images.device.type, enabled=False):
            changed, moved = self.pipeline(images.float() / 255, masks[:, None].float())
        masks = moved[:, 0].to(torch.uint8)
        flipped = self._flipped(len(masks)).to(masks.device)
        swapped = self.flipped_ids[masks.long()]
        return changed * 255, torch.where(flipped[:, None, None], swapped, masks)

    def _flipped(self, batch: int) -> Tensor:
        """Which samples of the last batch were mirrored, (B,) bool."""
        assert self.pipeline is not None
        for parameters in self.pipeline._params or []:  # pyright: ignore[reportPrivateUsage]
            if parameters.name.startswith("RandomHorizontalFlip"):
                data: Any = parameters.data
                return data["batch_prob"] > 0.5
        return torch.zeros(batch, dtype=torch.bool)


def _operations(config: AugmentConfig) -> list[_AugmentationBase]:
    operations: list[_AugmentationBase] = []
    if config.flip > 0:
        operations.append(K.RandomHorizontalFlip(p=config.flip))
    if max(config.rotation, config.scale, config.shift) > 0:
        operations.append(
            K.RandomAffine(
                degrees=config.rotation,
                translate=(config.shift, config.shift) if config.shift > 0 else None,
                scale=(1 - config.scale, 1 + config.scale) if config.scale > 0 else None,
                p=1.0,
            )
        )
    jitter = (config.brightness, config.contrast, config.saturation, config.hue)
    if max(jitter) > 0:
        operations.append(K.ColorJitter(*jitter, p=1.0))
    return operations
