"""Augmentation with Kornia on the batch's device: the same geometry for picture and mask, exact on masks."""

from collections.abc import Callable
from typing import Any, Self

import kornia.augmentation as K
import numpy as np
import torch
from kornia.augmentation.base import _AugmentationBase  # pyright: ignore[reportPrivateUsage]
from kornia.constants import DataKey, Resample, SamplePadding
from torch import Tensor, nn

from lisa.augment.pasting import Pasting
from lisa.augment.textures import Textures
from lisa.augment.upload import upload
from lisa.augment.wide import WideGeometry
from lisa.config import AugmentConfig
from lisa.labels import IGNORE_INDEX, LabelSet

SOMETIMES = 0.3
"""Probability of blur, noise and JPEG artefacts, where they are switched on."""


class Augmentation(nn.Module):
    """Pasted accessories and geometry for picture and mask alike, then appearance for the picture alone.

    Pasting comes first, while the faces are still aligned with one another. Geometry: wide placement on
    clutter, flip with the swap of left and right labels, one affine.
    Appearance: textures around the face, colour jitter, blur, noise, JPEG artefacts.
    Draws from torch's global CPU generator, noise from the device's own: torch.manual_seed seeds both, for
    batches that can be repeated. Runs outside autocast, which would corrupt the masks.
    """

    flip_table: Tensor
    border: Tensor

    def __init__(self, config: AugmentConfig, labels: LabelSet) -> None:
        super().__init__()
        self.pasting = Pasting(config.paste, labels) if config.paste > 0 else None
        self.wide = WideGeometry(config, labels) if max(config.wide, config.negatives) > 0 else None
        geometry = _geometry(config)
        self.register_buffer("border", torch.tensor([float(IGNORE_INDEX)]), persistent=False)
        mask_arguments: dict[str, Any] = {
            "resample": Resample.NEAREST,
            "align_corners": None,
            "padding_mode": SamplePadding.FILL,
            "fill_value": self.border,
        }
        self.geometry = (
            K.AugmentationSequential(
                *geometry, data_keys=["input", "mask"], extra_args={DataKey.MASK: mask_arguments}
            )
            if geometry
            else None
        )
        self.textures = Textures(config.texture, labels) if config.texture > 0 else None
        self.appearance = nn.ModuleList(_appearance(config))
        self.register_buffer("flip_table", torch.from_numpy(labels.flip_table()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Moves own tensors alone: Kornia's samplers would draw on the GPU, and the host wait for them.

        But for noise's, which nobody reads: as many numbers as a batch has would hold the host up for longer
        than a GPU's step takes.
        """
        super()._apply(fn, recurse=False)
        for part in (self.pasting, self.textures):
            if part is not None:
                part._apply(fn)
        if self.geometry is not None:
            # Kornia would copy it from the host in each step, and wait.
            self.geometry.extra_args[DataKey.MASK]["fill_value"] = self.border
        for operation in self.appearance:
            if isinstance(operation, K.RandomGaussianNoise):
                samplers: Any = operation.children()
                for sampler in samplers:
                    sampler.set_rng_device_and_dtype(self.border.device, torch.float32)
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) uint8 and (B,H,W) uint8 to float32 pictures in 0..255 and uint8 masks."""
        with torch.autocast(images.device.type, enabled=False):
            if self.pasting is not None:
                images, masks = self.pasting(images, masks)
            if self.wide is not None:
                images, masks = self.wide(images, masks)
            changed = images.float() / 255
            if self.geometry is not None:
                changed, moved = self.geometry(changed, masks[:, None].float())
                masks = self._swapped(moved[:, 0].to(torch.uint8))
            if self.textures is not None:
                changed = self.textures(changed, masks)
            for operation in self.appearance:
                changed = operation(changed)
        return changed.clamp(0, 1) * 255, masks

    def _swapped(self, masks: Tensor) -> Tensor:
        """The masks with left and right swapped in the samples that the last call mirrored."""
        assert self.geometry is not None
        for parameters in self.geometry._params or []:  # pyright: ignore[reportPrivateUsage]
            if parameters.name.startswith("RandomHorizontalFlip"):
                data: Any = parameters.data
                flipped = upload(data["batch_prob"] > 0.5, masks.device)
                return torch.where(flipped[:, None, None], self.flip_table[masks.long()], masks)
        return masks


def _geometry(config: AugmentConfig) -> list[_AugmentationBase]:
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
    return operations


def _appearance(config: AugmentConfig) -> list[_AugmentationBase]:
    operations: list[_AugmentationBase] = []
    jitter = (config.brightness, config.contrast, config.saturation, config.hue)
    if max(jitter) > 0:
        operations.append(K.ColorJitter(*jitter, p=1.0))
    if config.blur > 0:
        side = 2 * int(np.ceil(2 * config.blur)) + 1
        sigma = (min(0.1, config.blur), config.blur)
        operations.append(K.RandomGaussianBlur((side, side), sigma, p=SOMETIMES))
    if config.noise > 0:
        operations.append(K.RandomGaussianNoise(std=config.noise, p=SOMETIMES))
    if config.jpeg > 0:
        operations.append(K.RandomJPEG((100 - config.jpeg, 100.0), p=SOMETIMES))
    return operations
