"""Mixing across a batch: whole labels move with their pixels."""

import dataclasses

import torch

from lisa.augment.mixing import Mixing, accessory_ids
from lisa.config import AugmentConfig
from lisa.labels.celebamask import CELEBAMASK, IDS

OFF = AugmentConfig(mixup=0, cutmix=0, paste=0)


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture is flat in its own grey; each mask is skin with one hat pixel in a place of its own."""
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, 16, 16).clone()
    masks = torch.full((count, 16, 16), IDS["skin"], dtype=torch.uint8)
    for number in range(count):
        masks[number, number, number] = IDS["hat"]
    return images, masks


def test_off_is_off():
    images, masks = batch()
    mixed, targets = Mixing(OFF)(images, masks)
    assert torch.equal(mixed, images)
    assert torch.equal(targets[0][0], masks)
    assert targets[0][1] == 1.0


def test_cutmix_moves_pixels_and_labels_together():
    images, _ = batch()
    masks = images[:, 0].to(torch.uint8)
    mixed, targets = Mixing(dataclasses.replace(OFF, cutmix=1.0))(images, masks)
    assert torch.equal(mixed[:, 0].to(torch.uint8), targets[0][0])
    assert not torch.equal(mixed, images)


def test_paste_takes_accessories_alone():
    images, masks = batch()
    mixed, targets = Mixing(dataclasses.replace(OFF, paste=1.0))(images, masks)
    changed = mixed[:, 0] != images[:, 0]
    accessories = torch.tensor(accessory_ids(CELEBAMASK), dtype=torch.uint8)
    assert changed.any()
    assert torch.isin(targets[0][0][changed], accessories).all()
    assert torch.equal(targets[0][0][~changed], masks[~changed])


def test_mixup_blends_pictures_and_weighs_targets():
    images, masks = batch()
    mixed, targets = Mixing(dataclasses.replace(OFF, mixup=1.0))(images, masks)
    (own, share), (other, rest) = targets
    assert share + rest == 1.0
    assert torch.equal(own, masks)
    partners = torch.stack([(masks == mask).flatten(1).all(1).nonzero()[0, 0] for mask in other])
    assert torch.allclose(mixed, share * images + rest * images[partners])
