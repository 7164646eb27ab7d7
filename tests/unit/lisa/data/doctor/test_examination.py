"""Whether left and right of one face are exchanged."""

import numpy as np
import pytest
from PIL import Image

from lisa.data.doctor.examination import reversed_parts
from lisa.data.synthetic import draw_face
from lisa.labels import IDS
from lisa.labels.celebamask import CELEBAMASK

FLIP = CELEBAMASK.flip_table()


@pytest.mark.parametrize("turn", [-60, -25, 0, 25, 60, 180])
def test_the_midline_is_the_faces_own(turn: int):
    """A face on its side, or upside down, still has its left on its left."""
    masks = [draw_face(seed, 128)[1] for seed in range(16)]
    whole = [mask for mask in masks if (mask == IDS["l_lip"]).any()]  # nothing hides the mouth
    judged = 0
    for mask in whole:
        turned = np.asarray(Image.fromarray(mask).rotate(turn))
        assert reversed_parts(turned, CELEBAMASK) == ""
        judged += reversed_parts(FLIP[turned], CELEBAMASK) != ""
    assert judged == len(whole) >= 12


def test_faces_without_nose_and_mouth_are_not_judged():
    mask = draw_face(3, 128)[1].copy()
    mask[np.isin(mask, [IDS[name] for name in ("nose", "mouth", "u_lip", "l_lip")])] = IDS["skin"]
    assert reversed_parts(mask, CELEBAMASK) == ""
    assert reversed_parts(np.zeros((64, 64), np.uint8), CELEBAMASK) == ""
