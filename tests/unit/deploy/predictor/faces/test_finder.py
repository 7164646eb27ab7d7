"""Whole photos of painted faces: found where they are, upright or turned; nothing where there is none."""

import math
import resource
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scene_helpers import finder, painted_face, scene

from deploy.predictor.faces.align import Aligned, accepted
from deploy.predictor.faces.finder import Face, Finder, Given, Working
from deploy.predictor.faces.frames import cut_fine, reduced
from deploy.predictor.faces.search import propose
from deploy.predictor.photos import is_aligned


def near(face: Face, x: float, y: float, side: float, degrees: float = 0.0) -> bool:
    found_x, found_y, found_side, angle = face.frame
    turn = math.degrees(angle) - degrees
    turn = (turn + 180) % 360 - 180
    return (
        math.hypot(found_x - x, found_y - y) < 0.03 * side
        and abs(math.log(found_side / side)) < 0.07
        and abs(turn) < 3
    )


@pytest.mark.parametrize(
    ("share", "degrees"), [(1.0, 0), (0.6, 0), (0.35, 0), (0.2, 0), (0.5, 30), (0.5, -30)]
)
def test_a_face_of_any_size_and_turn(share: float, degrees: float):
    height = round(200 / share)
    where = (height * 0.75, height * 0.5, 200.0, degrees)
    faces = finder().find(scene(round(height * 1.5), height, where))
    assert len(faces) == 1
    assert near(faces[0], *where)
    assert faces[0].confidence > 0.6


def test_three_faces_of_three_sizes():
    places = [(150.0, 180.0, 220.0, 10.0), (430.0, 200.0, 160.0, -20.0), (660.0, 240.0, 260.0, 0.0)]
    faces = finder().find(scene(820, 420, *places))
    assert len(faces) == 3
    assert all(any(near(face, *place) for face in faces) for place in places)


@pytest.mark.parametrize("turn", [90, -90])
def test_a_sideways_photo(turn: int):
    where = (260.0, 200.0, 220.0, float(turn))
    faces = finder().find(scene(500, 400, where))
    assert len(faces) == 1
    assert near(faces[0], *where)


@pytest.mark.parametrize(("turn", "view"), [(90, 2), (-90, 3)])
def test_a_photo_is_searched_lying_on_either_side_too(turn: int, view: int, monkeypatch: pytest.MonkeyPatch):
    """Where a face shows only in the view in which it stands upright."""
    where, views = (260.0, 200.0, 220.0, float(turn)), list[torch.Size]()

    def from_view_on(photo: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
        views.append(photo.shape[2:])
        return propose(photo, *others) if len(views) >= view else (torch.zeros(0, 4), torch.zeros(0))

    monkeypatch.setattr("deploy.predictor.faces.finder.propose", from_view_on)
    (face,) = finder().find(scene(500, 400, where))
    assert near(face, *where)
    assert views == [(400, 500), (500, 400), (500, 400)][:view]


def doubtful(count: int, score: float = 0.55) -> tuple[torch.Tensor, ...]:
    """Score, move, cover and parts of frames that are just accepted."""
    values = (torch.full((count,), value) for value in (score, 0.5, 0.9))
    return (*values, torch.full((count,), 6))


@pytest.mark.parametrize("off", [90, 120, 180, -120])
def test_a_face_that_was_found_turned_otherwise_is_turned_right(off: int):
    x, y, side, degrees = 260.0, 200.0, 220.0, 60.0
    photo = scene(500, 400, (x, y, side, degrees))
    searcher = finder()
    wrong = torch.tensor([[x, y, side, math.radians(degrees + off)], [40.0, 40.0, 60.0, 0.3]])
    found = Aligned(wrong, *doubtful(2))
    turned = searcher._turned_right(Working.of(photo, 6 * searcher.size), found)  # pyright: ignore
    frame = turned.frames[0].tolist()
    assert near(Face((frame[0], frame[1], frame[2], frame[3]), 1.0, ()), x, y, side, degrees)
    assert turned.score[0] > 0.6
    assert torch.equal(turned.frames[1], wrong[1])
    assert found.score.tolist() == pytest.approx([0.55, 0.55])


def test_a_search_turns_what_it_found_otherwise(monkeypatch: pytest.MonkeyPatch):
    """The network's word for a frame 130 degrees off is made sure, as that of real ones sometimes is."""
    where = (260.0, 200.0, 220.0, -70.0)
    wrong = torch.tensor([[260.0, 200.0, 220.0, math.radians(60)]])
    first = Aligned(wrong, *doubtful(1, 0.65))
    align, calls = Finder._align, iter([first])  # pyright: ignore
    monkeypatch.setattr(Finder, "_align", lambda *given: next(calls, None) or align(*given))
    (face,) = finder().find(scene(500, 400, where))
    assert near(face, *where)


def test_a_face_beside_is_not_the_same_one_turned():
    places = [(150.0, 200.0, 220.0, 0.0), (420.0, 200.0, 220.0, 0.0)]
    photo = scene(600, 400, *places)
    searcher = finder()
    between = torch.tensor([[230.0, 200.0, 220.0, math.radians(90)]])
    found = Aligned(between, *doubtful(1))
    work = Working.of(photo, 6 * searcher.size)
    torch.testing.assert_close(searcher._turned_right(work, found).frames, between)  # pyright: ignore
    started = searcher._align(work, between - torch.tensor([0, 0, 0, math.pi / 2]))  # pyright: ignore
    assert started.score[0] > 0.6  # it leads to one of them


HIDDEN = {
    "below the eyes": (0.0, 0.52, 1.0, 1.0),
    "one side": (0.0, 0.0, 0.44, 1.0),
}


@pytest.mark.parametrize("part", HIDDEN)
def test_a_face_half_of_which_is_hidden_is_found(part: str):
    where = (300.0, 200.0, 240.0, 0.0)
    photo = scene(600, 400, where).copy()
    left, top, right, bottom = (round(240 * share) for share in HIDDEN[part])
    photo[80 + top : 80 + bottom, 180 + left : 180 + right] = 0
    (face,) = finder().find(photo)
    assert near(face, *where)
    assert face.confidence < 0.8
    photo[80:200] = 0  # a mouth alone, or a half of it, is no face
    assert finder().find(photo) == []


def accepts(score: float, move: float, cover: float, parts: int, side: float = 100) -> bool:
    frames = torch.tensor([[0.0, 0.0, side, 0.0]])
    values = (torch.tensor([score]), torch.tensor([move]), torch.tensor([cover]))
    return bool(accepted(Aligned(frames, *values, torch.tensor([parts])), 1))


def test_what_is_accepted_as_a_face():
    assert accepts(0.61, 2.9, 0.61, 3)
    assert accepts(0.51, 0.9, 0.81, 3)
    assert accepts(0.56, 0.9, 0.33, 4)
    assert not accepts(0.56, 0.9, 0.33, 3)
    assert not accepts(0.56, 1.1, 0.33, 4)
    assert not accepts(0.56, 0.9, 0.29, 4)
    for score, side, expected in ((0.7, 79, 0), (0.76, 48, 1), (0.91, 41, 1), (0.76, 47, 0), (0.91, 40, 0)):
        assert accepts(score, 0.5, 0.9, 6, side) == expected


def test_mirrored_faces_are_not_found():
    assert finder().find(scene(400, 300, (200, 150, 200, 0), mirrored=True)) == []


def test_a_large_photo_is_searched_in_small():
    where = (3000.0, 1500.0, 900.0, 8.0)
    faces = finder().find(scene(6000, 3500, where))
    assert len(faces) == 1
    assert near(faces[0], *where)


def test_a_panorama_is_searched_in_pieces():
    for width, height, x, y in ((1000, 120, 880.0, 60.0), (120, 1000, 60.0, 500.0)):
        faces = finder().find(scene(width, height, (x, y, 100.0, 0.0)))
        assert len(faces) == 1
        assert near(faces[0], x, y, 100.0)


def test_points_lie_on_eyes_nose_and_mouth():
    where = (300.0, 200.0, 240.0, 25.0)
    (face,) = finder().find(scene(600, 400, where))
    c, s = math.cos(math.radians(25)), math.sin(math.radians(25))
    for (x, y), (goal_x, goal_y) in zip(
        face.points, [(0.38, 0.48), (0.62, 0.48), (0.5, 0.58), (0.41, 0.75), (0.59, 0.75)], strict=True
    ):
        u, v = (goal_x - 0.5) * 240, (goal_y - 0.5) * 240
        assert math.hypot(300 + c * u - s * v - x, 200 + s * u + c * v - y) < 0.04 * 240


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (2, 3), (40, 40), (120, 200)])
def test_a_photo_without_a_face(shape: tuple[int, int]):
    assert finder().find(np.zeros((*shape, 3), np.uint8)) == []
    assert finder().find(np.full((*shape, 3), 130, np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert finder().find(noise) == []


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes there")
def test_a_hundred_megapixels_need_no_second_copy():
    photo = np.broadcast_to(np.uint8(130), (10_000, 10_000, 3))  # without memory of its own
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert finder().find(photo) == []
    cut_fine(photo, torch.tensor([5000.0, 5000.0, 9000.0, 0.5]), 96)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


def test_two_faces_on_one_spot_are_one():
    twice = scene(500, 400, (250, 200, 220, 0), (262, 204, 230, 3))
    assert len(finder().find(twice)) == 1


def test_of_two_that_follow_one_face_one_is_missed():
    photo = scene(500, 400, (250, 200, 220, 0))
    (face,) = finder().find(photo)
    beside = Face((face.frame[0] + 2, *face.frame[1:]), face.confidence, face.points)
    assert [each is None for each in finder().follow(photo, [face, beside])].count(True) == 1
    assert finder().follow(np.zeros_like(photo), [face]) == [None]
    assert finder().follow(photo, []) == []


def test_poor_boxes_are_pulled_into_place_and_points_hold():
    where = (300.0, 200.0, 240.0, -20.0)
    photo = scene(600, 400, where)
    poor = torch.tensor([[330.0, 180.0, 300.0, 0.0], [330.0, 180.0, 240.0, 0.0]])
    (face,) = finder().locate(photo, [Given(poor, False)])
    assert near(face, *where)
    nowhere = torch.tensor([[80.0, 80.0, 100.0, 0.3]])
    (face,) = finder().locate(photo, [Given(nowhere, True)])
    assert face.frame == pytest.approx((80, 80, 100, 0.3))
    assert face.confidence == 0


def test_an_aligned_picture_is_known():
    whole = finder().whole(painted_face(512))
    assert is_aligned(whole)
    assert whole.cover > 0.7
    assert not is_aligned(finder().whole(scene(600, 600, (200, 200, 250, 0))))
    assert not is_aligned(finder().whole(np.zeros((90, 90, 3), np.uint8)))


def test_reduced_pictures_are_means():
    picture = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    small = reduced(picture, 7)
    assert small.shape == (8, 10, 3)
    assert abs(float(small[3, 4, 1]) - picture[21:28, 28:35, 1].mean()) <= 0.51
