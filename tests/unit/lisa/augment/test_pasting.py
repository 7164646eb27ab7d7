"""Copy-paste across a batch: what is worn moves with its pixels."""

import pytest
import torch

from lisa.augment.augmentation import Augmentation
from lisa.augment.pasting import Pasting, accessory_ids
from lisa.config import AugmentConfig
from lisa.labels import IGNORE_INDEX
from lisa.labels.celebamask import CELEBAMASK, IDS


def batch(count: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture is flat in its own grey; each mask is skin with one hat pixel in a place of its own."""
    images = torch.arange(count).float().view(-1, 1, 1, 1).expand(-1, 3, 16, 16).clone()
    masks = torch.full((count, 16, 16), IDS["skin"], dtype=torch.uint8)
    for number in range(count):
        masks[number, number, number] = IDS["hat"]
    return images, masks


def test_off_is_off():
    assert Augmentation(AugmentConfig(), CELEBAMASK).pasting is None


@pytest.mark.parametrize("geometry", [{"shift": 0.2}, {"wide": 1.0}])
def test_what_is_worn_moves_with_its_new_face(geometry: dict[str, float]):
    """Pasted after the geometry, glasses would lie where the other face has been moved to."""
    torch.manual_seed(0)
    masks = torch.zeros(16, 96, 96, dtype=torch.uint8)
    masks[:, 32:64, 32:64] = IDS["skin"]
    masks[::2, 44:52, 36:60] = IDS["eye_g"]
    config = AugmentConfig(flip=0, rotation=0, paste=1.0, **geometry)
    _, moved = Augmentation(config, CELEBAMASK)(masks[:, None].expand(-1, 3, -1, -1).contiguous(), masks)
    putting_on = moved[1::2]
    assert (putting_on == IDS["eye_g"]).any()
    beside_background = (putting_on[:, :, 1:] == IDS["eye_g"]) & (putting_on[:, :, :-1] == 0)
    assert not beside_background.any()


def test_accessories_alone_are_taken_with_their_pixels():
    images, masks = batch()
    pasted, moved = Pasting(1.0, CELEBAMASK)(images, masks)
    changed = pasted[:, 0] != images[:, 0]
    accessories = torch.tensor(accessory_ids(CELEBAMASK), dtype=torch.uint8)
    assert changed.any()
    assert torch.isin(moved[changed], accessories).all()
    assert torch.equal(moved[~changed], masks[~changed])


def test_clutter_without_a_face_puts_nothing_on():
    images, masks = batch()
    masks[:2] = 0
    masks[0, 3:] = IGNORE_INDEX
    torch.manual_seed(0)
    _, moved = Pasting(1.0, CELEBAMASK)(images, masks)
    assert torch.equal(moved[:2], masks[:2])
    assert not torch.equal(moved[2:], masks[2:])


def test_so_many_pictures_put_something_on():
    images = torch.arange(400).float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    pasted, _ = Pasting(0.3, CELEBAMASK)(images, torch.full((400, 2, 2), IDS["hat"]))
    changed = (pasted != images).flatten(1).any(1).float().mean().item()
    assert abs(changed - 0.3) < 3 * (0.3 * 0.7 / 400) ** 0.5 + 1 / 400
