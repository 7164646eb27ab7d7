"""Augmentation across the pictures of a batch: copy-paste of accessories, CutMix, MixUp.

Faces of CelebAMask-HQ are aligned, so that what fits one face at a place fits another there.
"""

import torch
from torch import Tensor, nn

from lisa.augment.upload import upload
from lisa.config import AugmentConfig
from lisa.labels import LabelSet
from lisa.labels.celebamask import CELEBAMASK

Target = tuple[Tensor, float]
"""A batch's masks (B,H,W) uint8 and their share of the loss."""

ACCESSORIES = {"glasses", "hat", "earrings", "necklace", "facewear"}
"""Roles of what is worn: in CelebAMask-HQ the rare classes, on 6, 5, 23 and 4.5 % of the pictures."""


def accessory_ids(labels: LabelSet) -> list[int]:
    """Ids of the labels that cover nothing but what is worn."""
    worn = [label.name for label in labels.labels if label.roles and ACCESSORIES.issuperset(label.roles)]
    return [labels.ids[name] for name in worn]


class Mixing(nn.Module):
    """Takes each picture's partner from the same batch; draws from torch's global CPU generator."""

    accessory_ids: Tensor

    def __init__(self, config: AugmentConfig, labels: LabelSet = CELEBAMASK) -> None:
        super().__init__()
        self.config = config
        ids = torch.tensor(accessory_ids(labels), dtype=torch.uint8)
        self.register_buffer("accessory_ids", ids, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, list[Target]]:
        """(B,3,H,W) float and (B,H,W) uint8 to pictures and targets, whose shares sum to 1."""
        config = self.config
        draws, share = self._draw(len(masks))
        if not draws:
            return images, [(masks, 1.0)]
        drawn = iter(upload(torch.stack(draws), masks.device))
        if config.paste > 0:
            partners, chosen = _partners(next(drawn)), next(drawn)
            worn = torch.isin(masks[partners], self.accessory_ids)
            images, masks = _take_over(images, masks, partners, worn & _chosen(chosen))
        if config.cutmix > 0:
            partners, side, top, left, chosen = (next(drawn) for _ in range(5))
            inside = _rectangle(masks, side[0], top[0], left[0])
            images, masks = _take_over(images, masks, _partners(partners), inside & _chosen(chosen))
        if share is None:
            return images, [(masks, 1.0)]
        partners = _partners(next(drawn))
        blended = share * images + (1 - share) * images[partners]
        return blended, [(masks, share), (masks[partners], 1 - share)]

    def _draw(self, count: int) -> tuple[list[Tensor], float | None]:
        """All draws of a batch, (B,) float32 each, to be uploaded at once; and MixUp's share, if it is on."""
        config, draws = self.config, list[Tensor]()
        if config.paste > 0:
            draws += [torch.randperm(count), torch.rand(count) < config.paste]
        if config.cutmix > 0:
            draws += [torch.randperm(count)]
            rectangle = torch.rand(()).sqrt(), torch.rand(()), torch.rand(())
            draws += [each.expand(count) for each in rectangle]
            draws += [torch.rand(count) < config.cutmix]
        share = None
        if config.mixup > 0 and _number(torch.rand(())) < config.mixup:
            draws += [torch.randperm(count)]
            share = _number(torch.rand(()))
        return [each.float() for each in draws], share


def _number(drawn: Tensor) -> float:
    """A scalar on the host, read from memory: no device is asked."""
    return float(drawn.numpy())


def _partners(drawn: Tensor) -> Tensor:
    """(B,) indices of pictures; float32 holds them exactly."""
    return drawn.long()


def _chosen(drawn: Tensor) -> Tensor:
    """(B,1,1) bool, drawn per picture."""
    return drawn[:, None, None] > 0


def _take_over(images: Tensor, masks: Tensor, partners: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels and labels of the partners inside the region (B,H,W)."""
    images = torch.where(region[:, None], images[partners], images)
    return images, torch.where(region, masks[partners], masks)


def _rectangle(masks: Tensor, side: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """(H,W) bool: a rectangle of a uniformly drawn share of the area, as CutMix draws it.

    ``side`` is the root of the share, ``top`` and ``left`` the centre, all in 0..1.
    """
    height, width = masks.shape[1:]
    rows, columns = (torch.arange(length, device=masks.device) for length in (height, width))
    tall = (rows - top * height).abs() < side * height / 2
    return tall[:, None] & ((columns - left * width).abs() < side * width / 2)
