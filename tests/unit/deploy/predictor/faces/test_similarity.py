"""The fit: an exact similarity is recovered, whatever else is seen; what is no face is refused."""

import math

import pytest
import torch
from scene_helpers import ARRANGEMENT

from deploy.predictor.faces.similarity import apply, fit


def seen(scale: float = 0.8, degrees: float = 20.0, x: float = 0.1, y: float = -0.05):
    """Places (1,P,2) and masses (1,P) of a face, no glasses."""
    angle = math.radians(degrees)
    matrix = torch.tensor([[scale * math.cos(angle), scale * math.sin(angle), x, y]])
    masses = ARRANGEMENT.area[None] * scale**2
    masses = torch.cat([masses[:, :-1], torch.zeros(1, 1)], 1)
    return matrix, apply(matrix, ARRANGEMENT.place), masses


@pytest.mark.parametrize("degrees", [-40, 0, 25, 90, 180])
@pytest.mark.parametrize("scale", [0.3, 1.0, 1.8])
def test_an_exact_similarity_is_recovered(scale: float, degrees: float):
    matrix, places, masses = seen(scale, degrees)
    found = fit(places, masses, ARRANGEMENT)
    assert torch.allclose(found.matrix, matrix, atol=1e-4)
    assert float(found.score) > 0.99


def test_a_part_that_lies_elsewhere_does_not_pull():
    matrix, places, masses = seen()
    places[0, 5] += 0.3
    found = fit(places, masses, ARRANGEMENT)
    assert torch.allclose(found.matrix, matrix, atol=5e-3)
    assert 0.7 < float(found.score) < 0.85


def test_mirrored_parts_are_no_face():
    _, places, masses = seen(1.0, 0.0, 0.0, 0.0)
    mirrored = places[:, [1, 0, 3, 2, 4, 5, 6]]
    assert float(fit(mirrored, masses, ARRANGEMENT).score) < 0.35


def test_scrambled_parts_are_no_face():
    torch.manual_seed(0)
    _, _, masses = seen(1.0)
    places = torch.rand(200, 7, 2)
    scores = fit(places, masses.expand(200, -1), ARRANGEMENT).score
    assert (scores > 0.6).sum() <= 2
    assert float(scores.median()) < 0.3


def test_glasses_stand_in_for_hidden_eyes():
    matrix, places, masses = seen(1.0, 5.0, 0.0, 0.0)
    masses[:, :2] = 0
    without = float(fit(places, masses, ARRANGEMENT).score)
    masses[:, 6] = ARRANGEMENT.area[6]
    found = fit(places, masses, ARRANGEMENT)
    assert float(found.score) > without + 0.25
    assert torch.allclose(found.matrix, matrix, atol=1e-3)


def test_nothing_seen_scores_nothing():
    found = fit(torch.zeros(3, 7, 2), torch.zeros(3, 7), ARRANGEMENT)
    assert found.matrix.isfinite().all()
    assert (found.score == 0).all()


def test_the_inner_face_of_celebamask():
    assert ARRANGEMENT.ellipse() == pytest.approx((0.5, 0.58, 0.19, 0.27), abs=0.005)
