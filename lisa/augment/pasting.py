"""Copy-paste of accessories between the pictures of a batch (Ghiasi et al., CVPR 2021).

Faces of CelebAMask-HQ are aligned, so that what fits one face at a place fits another there, as long as
nothing has moved them.
"""

import torch
from torch import Tensor, nn

from lisa.augment.upload import upload
from lisa.labels import IGNORE_INDEX, LabelSet

ACCESSORIES = {"glasses", "hat", "earrings", "necklace", "facewear"}
"""Roles of what is worn: in CelebAMask-HQ the rare classes, on 6, 5, 23 and 4.5 % of the pictures."""


def accessory_ids(labels: LabelSet) -> list[int]:
    """Ids of the labels that cover nothing but what is worn."""
    worn = [label.name for label in labels.labels if label.roles and ACCESSORIES.issuperset(label.roles)]
    return [labels.ids[name] for name in worn]


class Pasting(nn.Module):
    """Takes each picture's partner from the same batch; draws from torch's global CPU generator."""

    accessory_ids: Tensor

    def __init__(self, share: float, labels: LabelSet) -> None:
        super().__init__()
        self.share = share
        ids = torch.tensor(accessory_ids(labels), dtype=torch.uint8)
        self.register_buffer("accessory_ids", ids, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) and (B,H,W) uint8 to such pictures and masks."""
        count = len(masks)
        draws = torch.stack([torch.randperm(count).float(), (torch.rand(count) < self.share).float()])
        partners, chosen = upload(draws, masks.device)
        partners = partners.long()  # float32 holds them exactly
        has_face = ((masks > 0) & (masks != IGNORE_INDEX)).flatten(1).any(1)  # clutter wears nothing
        wears = (has_face & (chosen > 0))[:, None, None]
        worn = torch.isin(masks[partners], self.accessory_ids) & wears
        images = torch.where(worn[:, None], images[partners], images)
        return images, torch.where(worn, masks[partners], masks)
