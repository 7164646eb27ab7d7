"""Labels in the photo: where the frame is, exact at any turn; nearer faces win; background paints nothing."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scene_helpers import by_color, scene

from deploy.predictor.faces.frames import as_tensor, cut_fine
from deploy.predictor.faces.put_back import Labelled, Labels, blocks, sample

WHERE = torch.tensor([300.0, 210.0, 240.0, math.radians(20)])


def plain(label: int, side: int = 32) -> torch.Tensor:
    """Logits of one label everywhere."""
    logits = torch.zeros(19, side, side)
    logits[label] = 9
    return logits


def test_what_was_cut_out_is_put_back_where_it_was():
    photo = scene(600, 420, (300, 210, 240, 20))
    truth = by_color(as_tensor(photo))[0].argmax(0).numpy()
    labelled = Labelled(420, 600)
    labelled.add(by_color(cut_fine(photo, WHERE, 256))[0], WHERE)
    assert (labelled.ids == truth).mean() > 0.99
    parts = (truth > 0) & (labelled.owner == 1)
    assert (labelled.ids == truth)[parts].mean() > 0.95


def test_a_large_photo_is_cut_from_its_pixels():
    photo = scene(2400, 1700, (1200, 850, 1500, -15))
    frame = torch.tensor([1200.0, 850.0, 1500.0, math.radians(-15)])
    labels = by_color(cut_fine(photo, frame, 128))[0].argmax(0)
    upright = by_color(cut_fine(scene(256, 256, (128, 128, 256, 0)), torch.tensor([128.0, 128, 256, 0]), 128))
    assert (labels == upright[0].argmax(0)).float().mean() > 0.95


@pytest.mark.parametrize("side", [31.0, 240.0])
def test_labels_are_those_of_the_logits_at_each_pixel(side: float):
    """Also where four neighbours have one label and the logits are not looked at."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 19, 9, 9, generator=generator)
    logits = F.interpolate(coarse, size=64, mode="bilinear", align_corners=True)[0]
    logits[:, 20:30, 20:30] = torch.rand(19, 10, 10, generator=generator)
    labels = Labels(logits)
    for block in blocks(torch.tensor([130.0, 120, side, 0.3]), 240, 260):
        expected = sample(logits, block.grid).argmax(0)
        assert torch.equal(labels.at(block), expected.to(torch.uint8))
    assert 0.02 < labels.mixed.float().mean() < 0.5


def test_the_nearer_centre_wins_and_background_paints_over_nobody():
    one, two = torch.tensor([40.0, 50, 80, 0]), torch.tensor([80.0, 50, 80, 0])
    labelled = Labelled(100, 120)
    labelled.add(plain(1), one)
    labelled.add(plain(2), two)
    assert labelled.ids[50, 45] == 1
    assert labelled.ids[50, 75] == 2
    assert (labelled.ids[50, 42:59] == 1).all()
    assert (labelled.ids[50, 61:78] == 2).all()
    before = labelled.ids.copy()
    labelled.add(plain(0), torch.tensor([60.0, 50, 90, 0]))
    assert np.array_equal(labelled.ids, before)


def test_a_small_face_in_a_large_one_keeps_its_middle_in_any_order():
    large, small = torch.tensor([60.0, 60, 120, 0]), torch.tensor([90.0, 60, 20, 0])
    maps = []
    for order in ((large, small), (small, large)):
        labelled = Labelled(120, 120)
        for frame in order:
            labelled.add(plain(1 if frame is large else 2), frame)
        maps.append(labelled.ids)
    assert np.array_equal(*maps)
    assert maps[0][60, 90] == 2


def test_nothing_is_painted_outside_of_the_frame_or_the_photo():
    labelled = Labelled(50, 50)
    labelled.add(plain(1), torch.tensor([0.0, 25, 30, math.pi / 4]))
    assert labelled.ids[25, 0] == 1
    assert labelled.ids[:, 25:].max() == 0
    labelled.add(plain(2), torch.tensor([-400.0, 25, 30, 0]))
    assert (labelled.ids != 2).all()
