"""The boundary band against the definition, eroded 3x3 by 3x3, one class at a time."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from lisa.evaluation.boundary import boundary_band, boundary_distance


def blocks(height: int, width: int) -> torch.Tensor:
    cells = torch.randint(0, 19, (height // 9 + 1, width // 9 + 1), dtype=torch.uint8)
    return cells.repeat_interleave(9, 0).repeat_interleave(9, 1)[:height, :width]


@pytest.mark.parametrize(("height", "width"), [(40, 33), (7, 50), (1, 1), (3, 2)])
@pytest.mark.parametrize("distance", [1, 2, 5])
def test_band_is_what_erosion_takes_away(height: int, width: int, distance: int):
    labels = blocks(height, width)
    labels[0, 0] = 255
    expected = np.zeros((height, width), bool)
    for index in np.unique(labels):
        mask = labels.numpy() == index
        inside = binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
        expected |= mask & np.logical_not(inside)
    assert np.array_equal(boundary_band(labels, distance).numpy(), expected)


def test_distance_is_two_percent_of_the_diagonal():
    assert boundary_distance(512, 512) == 14
    assert boundary_distance(1024, 768) == 26
    assert boundary_distance(2, 2) == 1
