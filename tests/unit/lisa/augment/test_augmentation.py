"""Augmentation: masks stay exact and move with their pictures."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lisa.augment.augmentation import Augmentation
from lisa.config import AugmentConfig
from lisa.data.folders import find_pairs
from lisa.errors import InputError
from lisa.figures.__main__ import main
from lisa.figures.augmentation_sheet import SHEET_VIEWS, draw_sheet
from lisa.labels import PALETTE
from lisa.labels.celebamask import CELEBAMASK

NONE = AugmentConfig(**{field.name: 0.0 for field in dataclasses.fields(AugmentConfig)})
COLORS = torch.tensor(PALETTE, dtype=torch.uint8).view(-1, 3)


def blocks(batch: int = 4, side: int = 64) -> torch.Tensor:
    ids = torch.randint(0, 19, (batch, side // 8, side // 8), dtype=torch.uint8)
    return ids.repeat_interleave(8, 1).repeat_interleave(8, 2)


def test_nothing_switched_on_changes_nothing():
    images, masks = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8), blocks(2, 8)
    changed, moved = Augmentation(NONE, CELEBAMASK)(images, masks)
    assert torch.equal(changed, images.float())
    assert torch.equal(moved, masks)


def test_flip_swaps_left_and_right():
    masks = blocks()
    images = COLORS[masks.long()].permute(0, 3, 1, 2)
    changed, moved = Augmentation(dataclasses.replace(NONE, flip=1.0), CELEBAMASK)(images, masks)
    assert torch.equal(changed.round().to(torch.uint8), images.flip(3))
    mirrored = masks.flip(2)
    for left, right in CELEBAMASK.flip_pairs:
        assert torch.equal(moved == left, mirrored == right)
        assert torch.equal(moved == right, mirrored == left)
    others = ~torch.isin(mirrored, torch.tensor(CELEBAMASK.flip_pairs).flatten())
    assert torch.equal(moved[others], mirrored[others])


def test_flip_is_drawn_per_sample():
    masks = blocks(32, 16)
    images = masks[:, None].expand(-1, 3, -1, -1).contiguous()
    changed, moved = Augmentation(dataclasses.replace(NONE, flip=0.5), CELEBAMASK)(images, masks)
    flipped = (changed[:, 0].round() != masks).flatten(1).any(1)
    assert 0 < flipped.sum() < 32
    assert torch.equal(moved[~flipped], masks[~flipped])


@pytest.mark.parametrize("autocast", [False, True])
def test_mask_and_picture_move_together(autocast: bool):
    """The mask's own colours, augmented as a picture, agree with the augmented mask away from edges."""
    masks = blocks()
    images = COLORS[masks.long()].permute(0, 3, 1, 2).contiguous()
    geometry = dataclasses.replace(NONE, flip=0.5, rotation=20, scale=0.2, shift=0.1)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        changed, moved = Augmentation(geometry, CELEBAMASK)(images, masks)
    assert set(moved.unique().tolist()) <= {*range(19), 255}
    assert (moved == 255).any()
    pure = torch.zeros_like(moved, dtype=torch.bool)
    swapped = torch.cat([COLORS, torch.zeros(256 - 19, 3, dtype=torch.uint8)])
    for left, right in CELEBAMASK.flip_pairs:  # colours don't swap on a flip, ids do
        pure |= (moved == left) | (moved == right)
    error = (changed - swapped[moved.long()].permute(0, 3, 1, 2)).abs().amax(1)
    inside = ~pure & (moved != 255)
    assert (error[inside] < 1).float().mean() > 0.5
    spread = F.max_pool2d(changed, 3, 1, 1) + F.max_pool2d(-changed, 3, 1, 1)
    same_color = spread.amax(1) < 0.01
    assert (inside & same_color).float().mean() > 0.15
    assert (error[inside & same_color] < 1).all()


def test_the_same_seed_draws_the_same():
    augment = Augmentation(AugmentConfig(rotation=10, scale=0.2), CELEBAMASK)
    images, masks = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), blocks(2, 32)
    results: list[torch.Tensor] = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(images, masks)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_colour_jitter_leaves_masks_alone():
    masks = blocks()
    jitter = dataclasses.replace(NONE, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    changed, moved = Augmentation(jitter, CELEBAMASK)(images, masks)
    assert torch.equal(moved, masks)
    assert not torch.allclose(changed, images.float(), atol=5)
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize(("name", "strength"), [("blur", 2.0), ("noise", 0.1), ("jpeg", 60.0)])
def test_appearance_changes_some_pictures_and_no_mask(name: str, strength: float):
    masks = blocks(16, 32)
    images = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    augment = Augmentation(dataclasses.replace(NONE, **{name: strength}), CELEBAMASK)
    changed, moved = augment(images, masks)
    assert torch.equal(moved, masks)
    differs = ((changed - images.float()).abs() > 0.5).flatten(1).any(1)
    assert 0 < differs.sum() < 16
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_what_comes_in_from_outside_is_ignored():
    masks = torch.full((4, 32, 32), 13, dtype=torch.uint8)
    rotated = dataclasses.replace(NONE, rotation=45)
    torch.manual_seed(1)
    moved = Augmentation(rotated, CELEBAMASK)(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), masks)[1]
    assert set(moved.unique().tolist()) == {13, 255}


def test_sheet(make_faces: Callable[..., Path], tmp_path: Path):
    pairs = find_pairs(make_faces(), "train")
    draw_sheet(AugmentConfig(paste=1), pairs, tmp_path / "sheet.png", 32)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == ((1 + SHEET_VIEWS) * 32, 4 * 32)


def test_the_command_draws_a_recipes_sheet_into_a_new_folder(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "new/sheet.png"
    words = ["--data", str(make_faces()), "--output", str(output), "--recipe", "report", "--size", "32"]
    monkeypatch.setattr(sys, "argv", ["figures", "augmentation", *words])
    main()
    with Image.open(output) as sheet:
        assert sheet.size == ((1 + SHEET_VIEWS) * 32, 4 * 32)


def test_the_worst_jpeg_that_the_config_allows():
    images, masks = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), blocks(8, 32)
    changed, _ = Augmentation(dataclasses.replace(NONE, jpeg=99), CELEBAMASK)(images, masks)
    assert changed.isfinite().all()
    with pytest.raises(InputError, match="0 to 99"):
        dataclasses.replace(NONE, jpeg=99.5)
