"""Augmentation across the pictures of a batch: copy-paste of accessories, CutMix, MixUp.

Faces of CelebAMask-HQ are aligned, so that what fits one face at a place fits another there.
"""

import torch
from torch import Tensor, nn

from lisa.config import AugmentConfig
from lisa.labels import IDS

Target = tuple[Tensor, float]
"""A batch's masks (B,H,W) uint8 and their share of the loss."""

ACCESSORIES = ("eye_g", "hat", "ear_r", "neck_l")
"""The rare classes: on 6, 5, 23 and 4.5 % of the pictures."""


class Mixing(nn.Module):
    """Takes each picture's partner from the same batch; draws from torch's global CPU generator."""

    accessory_ids: Tensor

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config
        ids = torch.tensor([IDS[name] for name in ACCESSORIES], dtype=torch.uint8)
        self.register_buffer("accessory_ids", ids, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, list[Target]]:
        """(B,3,H,W) float and (B,H,W) uint8 to pictures and targets, whose shares sum to 1."""
        config = self.config
        if config.paste > 0:
            partners = torch.randperm(len(masks))
            worn = torch.isin(masks[partners], self.accessory_ids)
            images, masks = _take_over(images, masks, partners, worn & _chosen(masks, config.paste))
        if config.cutmix > 0:
            partners = torch.randperm(len(masks))
            inside = _rectangle(masks.shape[1], masks.shape[2]).to(masks.device)
            images, masks = _take_over(images, masks, partners, inside & _chosen(masks, config.cutmix))
        if config.mixup > 0 and torch.rand(()) < config.mixup:
            partners = torch.randperm(len(masks))
            share = torch.rand(()).item()
            blended = share * images + (1 - share) * images[partners]
            return blended, [(masks, share), (masks[partners], 1 - share)]
        return images, [(masks, 1.0)]


def _chosen(masks: Tensor, probability: float) -> Tensor:
    """(B,1,1) bool, drawn per picture."""
    return (torch.rand(len(masks), 1, 1) < probability).to(masks.device)


def _take_over(images: Tensor, masks: Tensor, partners: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels and labels of the partners inside the region (B,H,W)."""
    images = torch.where(region[:, None], images[partners], images)
    return images, torch.where(region, masks[partners], masks)


def _rectangle(height: int, width: int) -> Tensor:
    """(H,W) bool: a rectangle of a uniformly drawn share of the area, as CutMix draws it."""
    side = torch.rand(()).sqrt()
    top, left = torch.rand(()) * height, torch.rand(()) * width
    rows, columns = torch.arange(height), torch.arange(width)
    tall = (rows - top).abs() < side * height / 2
    return tall[:, None] & ((columns - left).abs() < side * width / 2)
