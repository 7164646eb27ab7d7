"""Textures lie on what surrounds the face, on nothing else, and labels stay."""

import dataclasses
import math

import pytest
import torch

from lisa.augment.augmentation import Augmentation
from lisa.augment.textures import ALL, LONGEST_WAVE, REGIONS, WEAKEST, Textures, draw_waves, foliage
from lisa.config import AugmentConfig
from lisa.labels import IGNORE_INDEX, Label, LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK

GREY = 0.4
SIDE = 64


def textured(
    count: int, share: float = 1.0, labels: LabelSet = CELEBAMASK
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and masks whose rows go through all labels, three rows each."""
    torch.manual_seed(0)
    rows = torch.arange(SIDE) // 3
    rows[rows >= len(labels)] = IGNORE_INDEX
    masks = rows.to(torch.uint8)[None, :, None].expand(count, SIDE, SIDE)
    return Textures(share, labels)(torch.full((count, 3, SIDE, SIDE), GREY), masks), masks


def changed_ids(pictures: torch.Tensor, masks: torch.Tensor) -> set[int]:
    return set(masks[(pictures != GREY).any(1)].tolist())


def ids(*roles: str) -> set[int]:
    return {CELEBAMASK.by_role[role] for role in roles}


def test_what_surrounds_the_face_is_covered_and_the_face_is_not():
    around = ids(*(role for region in REGIONS for role in region))
    assert len(around) == 9
    assert changed_ids(*textured(32)) == around


def test_sets_without_such_labels_have_their_background_and_hair_covered():
    lapa = read_label_set("lapa")
    assert changed_ids(*textured(32, labels=lapa)) == {lapa.by_role["background"], lapa.by_role["hair"]}


def test_a_label_that_shows_the_face_too_is_not_covered_whatever_role_comes_first():
    labels = (
        Label("around", (0, 0, 0), ("neck", "background")),
        Label("head", (1, 0, 0), ("left_ear", "right_ear", "skin", "nose")),
        Label("worn", (2, 0, 0), ("hat", "clothing")),
    )
    assert changed_ids(*textured(32, labels=LabelSet("mine", labels))) == {0, 2}
    plain = (Label("around", (0, 0, 0)), Label("head", (1, 0, 0)))
    assert changed_ids(*textured(32, labels=LabelSet("mine", plain))) == {0}


def test_each_region_is_covered_by_itself():
    pictures, masks = textured(256)
    seen = {
        frozenset(changed_ids(picture[None], mask[None]))
        for picture, mask in zip(pictures, masks, strict=True)
    }
    clothes = frozenset(ids("clothing", "neck", "necklace"))
    assert frozenset({0}) in seen
    assert clothes in seen
    assert len(seen) == 2 ** len(REGIONS)


def test_all_regions_at_once_come_often():
    pictures, masks = textured(400)
    every = ids(*(role for region in REGIONS for role in region))
    found = sum(
        changed_ids(each[None], mask[None]) == every for each, mask in zip(pictures, masks, strict=True)
    )
    expected = ALL + (1 - ALL) * 0.5 ** len(REGIONS)
    assert abs(found / 400 - expected) <= 3 * math.sqrt(expected / 400)


def test_contrast_is_high_and_scales_are_many():
    pictures = textured(64)[0][:, :, :3]  # of the background
    covered = (pictures != GREY).flatten(1).any(1)
    assert 26 < covered.sum() < 54  # of 64: ALL, and half of the others
    spans = pictures[covered].amax((1, 2, 3)) - pictures[covered].amin((1, 2, 3))
    assert (spans > 0.9 * WEAKEST).float().mean() > 0.4  # half of them are black and white
    changes = (pictures[covered, 0, 0].diff().abs() > 1e-3).float().mean(1)
    assert changes.min() < 0.15 < 0.4 < changes.max()


def test_foliage_is_half_light_has_blotches_of_many_sizes_and_does_not_repeat():
    torch.manual_seed(0)
    count, side, period = 16, 512, 4.0
    v, u = torch.meshgrid(torch.arange(side) / period, torch.arange(side) / period, indexing="ij")
    leaves = foliage(u.expand(count, side, side), v.expand(count, side, side), draw_waves(count)).float()
    assert (leaves.mean((1, 2)) - 0.5).abs().max() < 0.2
    row = leaves[:, side // 2].flatten()
    lengths = torch.unique_consecutive(row, return_counts=True)[1] / period
    assert lengths.quantile(0.25) < 1
    assert lengths.quantile(0.9) > 4
    assert lengths.max() > LONGEST_WAVE / 2
    signs = 2 * leaves - 1
    alike = [(signs[..., k:] * signs[..., :-k]).mean().item() for k in range(64, 257, 16)]
    assert max(alike) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_share_of_the_pictures(share: float):
    pictures, _ = textured(400, share)
    found = (pictures != GREY).flatten(1).any(1).float().mean().item()
    expected = share * (1 - (1 - ALL) * 0.5 ** len(REGIONS))
    assert abs(found - expected) <= 3 * math.sqrt(expected / 400)


def test_in_the_augmentation_geometry_moves_labels_before_a_texture_lies_on_them():
    still = AugmentConfig(rotation=0, brightness=0, contrast=0, saturation=0, hue=0)
    images = torch.full((16, 3, SIDE, SIDE), 102, dtype=torch.uint8)
    masks = torch.full((16, SIDE, SIDE), CELEBAMASK.by_role["skin"], dtype=torch.uint8)
    masks[:, :, SIDE // 2 :] = 0
    results = []
    for texture in (0.0, 1.0):
        torch.manual_seed(0)
        config = dataclasses.replace(still, shift=0.3, texture=texture)
        results.append(Augmentation(config, CELEBAMASK)(images, masks))
    (plain, expected), (pictures, moved) = results
    assert torch.equal(moved, expected)
    background = (moved == 0)[:, None].expand_as(pictures)
    assert torch.equal(pictures[~background], plain[~background])
    assert (pictures[background] - plain[background]).abs().max() > 100
