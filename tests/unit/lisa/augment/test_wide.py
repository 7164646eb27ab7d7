"""Wide geometry: labels stay with their pixels, faces get other sizes, clutter is background."""

import dataclasses

import torch
from torch import Tensor

from lisa.augment.augmentation import Augmentation
from lisa.augment.clutter import draw_clutter
from lisa.augment.wide import LARGEST, SMALLEST, WideGeometry
from lisa.config import AugmentConfig, Config, finder
from lisa.labels import read_label_set
from lisa.labels.celebamask import CELEBAMASK

OFF = AugmentConfig(**{field.name: 0.0 for field in dataclasses.fields(AugmentConfig)})


def discs(batch: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """A white disc of skin on black, radius a quarter of the side."""
    place = (torch.arange(side) + 0.5) / side - 0.5
    inside = (place[:, None] ** 2 + place**2).sqrt() < 0.25
    masks = inside.to(torch.uint8).expand(batch, side, side)
    return (masks * 255)[:, None].expand(-1, 3, -1, -1).contiguous(), masks.contiguous()


def geometry(**fields: float) -> WideGeometry:
    return WideGeometry(dataclasses.replace(OFF, **fields), CELEBAMASK)


def test_labels_lie_where_their_pixels_lie():
    torch.manual_seed(0)
    images, masks = discs(48)
    changed, moved = geometry(wide=1.0)(images, masks)
    whitest = changed.amin(1)
    deep = -torch.nn.functional.max_pool2d(-(moved == 1).float()[:, None], 5, 1, 2)[:, 0] > 0
    assert deep.any(), "some discs stand in their frames"
    # A few lie where the disc's rim leaves the picture, which an erosion within the picture does not see.
    assert (whitest[deep] > 254).float().mean() > 0.999, "inside the moved mask is the disc, no clutter"


def test_sizes_reach_from_a_third_to_more_than_the_frame():
    torch.manual_seed(1)
    images, masks = discs(600, 32)
    _, moved = geometry(wide=1.0)(images, masks)
    areas = (moved == 1).float().mean((1, 2)) / (masks[0] == 1).float().mean()
    assert LARGEST**2 * 1.05 > areas.max() > (0.85 * LARGEST) ** 2
    whole = (moved[:, 0] == 0).all(1) & (moved[:, -1] == 0).all(1)
    whole &= (moved[:, :, 0] == 0).all(1) & (moved[:, :, -1] == 0).all(1) & (areas > 0)
    assert SMALLEST**2 * 0.7 < areas[whole].min() < (1.4 * SMALLEST) ** 2


def test_negatives_hold_no_label_and_no_picture():
    torch.manual_seed(2)
    images, masks = discs(16)
    changed, moved = geometry(negatives=1.0)(images, masks)
    assert not moved.any()
    assert (changed - images).abs().flatten(1).mean(1).min() > 5


def test_as_many_as_asked_are_changed_and_the_others_are_not():
    torch.manual_seed(3)
    images, masks = discs(400, 16)
    changed, _ = geometry(wide=0.3)(images, masks)
    same = (changed == images).flatten(1).all(1)
    assert 0.6 < same.float().mean() < 0.8


def test_the_seed_says_it_all():
    images, masks = discs(4, 32)
    augment = Augmentation(finder().augment, CELEBAMASK)
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(augment(images, masks)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_set_whose_background_holds_skin_is_never_cut_out():
    eyes = read_label_set("lapa")
    assert eyes.alone("background") is None
    assert WideGeometry(dataclasses.replace(OFF, wide=1.0), eyes).cut_out == 0


def test_clutter_is_a_picture_of_many_kinds():
    torch.manual_seed(4)
    images, _ = discs(8)
    made = draw_clutter(images.float(), 64)
    assert made.shape == (64, 3, 64, 64)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 255
    assert made.flatten(1).std(1).median() > 10


def test_off_by_default():
    assert Augmentation(AugmentConfig(), CELEBAMASK).wide is None
    assert Augmentation(finder().augment, CELEBAMASK).wide is not None
    assert Config.from_json(finder().to_json()) == finder()
