"""Noise on the pictures that a network sees, in grey levels."""

import pytest
import torch
from torch import Tensor, nn

from lisa.evaluation.wrappers import Noisy
from lisa.face_parser import FaceParser


def seen(grey: int, deviation: float, pictures: int = 1) -> Tensor:
    """What the network gets of uniform grey pictures, back in grey levels."""
    parser = FaceParser(Noisy(nn.Identity(), 64, deviation), 64)
    normalised = parser.logits(torch.full((pictures, 3, 64, 64), grey, dtype=torch.uint8))
    return normalised * parser.std + parser.mean


def test_deviation_is_in_grey_levels():
    picture = seen(128, 10)
    assert picture.mean().item() == pytest.approx(128, abs=0.5)
    assert picture.std().item() == pytest.approx(10, abs=0.3)
    red, green = picture[0, 0] - 128, picture[0, 1] - 128
    assert abs((red * green).mean().item()) < 5  # 100 were it one grey field


def test_stays_within_a_pictures_range():
    assert seen(0, 60).min().item() == pytest.approx(0, abs=1e-3)
    assert seen(255, 60).max().item() == pytest.approx(255, abs=1e-3)


def test_the_same_on_every_picture_and_every_time():
    first, second = seen(128, 10, pictures=2)
    assert torch.equal(first, second)
    assert torch.equal(first, seen(128, 10)[0])
