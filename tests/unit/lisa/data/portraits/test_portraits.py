"""Parts of the drawing: every kind of background, hat and collar, light, hair's edges, what hides a face."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lisa.data.portraits import backdrop, hats, occluders
from lisa.data.portraits.camera import photograph
from lisa.data.portraits.canvas import Canvas, ellipse
from lisa.data.portraits.clothing import COLLARS, draw_cloth
from lisa.data.portraits.fabric import make_fabric
from lisa.data.portraits.glasses import draw_glasses, draw_glasses_kind
from lisa.data.portraits.haircut import draw_haircut
from lisa.data.portraits.head import draw_ear, draw_ears, draw_neck
from lisa.data.portraits.look import Look, draw_look
from lisa.data.portraits.pose import EYE, MOUTH_Y, Pose
from lisa.data.portraits.relief import light_face
from lisa.data.portraits.strands import make_strands
from lisa.data.portraits.traits import draw_traits
from lisa.labels import IDS

SIZE = 96
AHEAD = Pose(yaw=0, pitch=0, tilt=0, scale=1, shift=(0, 0))


@pytest.fixture
def canvas() -> Canvas:
    """A grey picture."""
    made = Canvas(SIZE)
    made.picture += np.float32(0.5)
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def look(rng: np.random.Generator) -> Look:
    return draw_look(rng)


def name(kind: Callable[..., None]) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", backdrop.KINDS, ids=name)
def test_backgrounds_change_the_picture_and_no_label(
    kind: Callable[..., None], canvas: Canvas, look: Look, rng: np.random.Generator
):
    before = canvas.picture.copy()
    kind(canvas, (look.skin, look.hair), rng)
    assert np.isfinite(canvas.picture).all()
    assert (canvas.picture != before).any() == (kind is not backdrop._draw_nothing)  # pyright: ignore
    assert not canvas.mask.any()


@pytest.mark.parametrize("kind", hats.KINDS, ids=name)
def test_hats_are_labelled_where_they_are_painted(
    kind: Callable[..., None], canvas: Canvas, rng: np.random.Generator
):
    kind(canvas, AHEAD, make_fabric(canvas, rng), 0.05, rng)
    worn = canvas.mask == IDS["hat"]
    assert 0.02 < worn.mean() < 0.6
    assert set(np.unique(canvas.mask)) == {0, IDS["hat"]}
    ys, xs = np.nonzero(worn)
    assert ys.min() / SIZE < 0.4  # on the head, and as much to its left as to its right
    assert abs((xs.mean() + 0.5) / SIZE - 0.5) < 0.06


@pytest.mark.parametrize("kind", COLLARS)
def test_clothes_lie_below_the_face(kind: str, canvas: Canvas, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lisa.data.portraits.clothing.COLLARS", {kind: 1.0})
    for seed in range(3):
        draw_cloth(canvas, AHEAD, canvas.picture.copy(), np.random.default_rng(seed), low=False)
    found = canvas.mask == IDS["cloth"]
    assert found.mean() > 0.01
    assert not found[: SIZE // 2].any()
    assert set(np.unique(canvas.mask)) <= {0, IDS["cloth"], IDS["neck"]}


@pytest.mark.parametrize("side", [-1, 1])
def test_the_side_of_the_face_that_the_lamp_lights_is_brighter(side: int, look: Look):
    lit = replace(look, light=(0.7 * side, -0.1, 0.7), contrast=0.9)
    difference: list[float] = []
    for seed in range(4):
        canvas = Canvas(SIZE)
        face = canvas.cover(ellipse((0.5, 0.55), (0.23, 0.33)))
        canvas.paint(face, (0.6, 0.5, 0.4), "skin")
        light_face(canvas, AHEAD, lit, face, np.random.default_rng(seed))
        difference.append(float(canvas.picture[:, SIZE // 2 :].sum() - canvas.picture[:, : SIZE // 2].sum()))
        assert not canvas.picture[canvas.mask == 0].any() or canvas.picture[:10].sum() == 0
    assert all(side * each > 0 for each in difference)


def test_hair_is_labelled_where_it_covers_and_its_edge_frays(
    canvas: Canvas, look: Look, rng: np.random.Generator
):
    cut = replace(draw_haircut(rng, draw_traits(rng)), frizz=1.0)
    strands = make_strands(canvas, AHEAD, replace(look, hair=np.zeros(3, np.float32)), cut, rng)
    strands.paint(canvas, ellipse((0.5, 0.5), (0.3, 0.3)))
    labelled = canvas.mask == IDS["hair"]
    distance = np.hypot(canvas.x - 0.5, canvas.y - 0.5)
    assert labelled[distance < 0.2].all()
    assert not labelled[distance > 0.4].any()
    edge = labelled & (distance > 0.28) & (distance < 0.34)
    inside = labelled[(distance > 0.28) & (distance < 0.34)]
    assert edge.any()
    assert not inside.all()


def test_hair_that_leaves_the_frame_does_not_fade_along_its_border(
    canvas: Canvas, look: Look, rng: np.random.Generator
):
    strands = make_strands(canvas, AHEAD, look, draw_haircut(rng, draw_traits(rng)), rng)
    strands.paint(canvas, np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 1.5), (-0.5, 1.5)]))
    assert (canvas.mask[:, :40] == IDS["hair"]).all()


def test_eyes_are_told_from_lenses_unless_they_are_dark(canvas: Canvas):
    shown = {True: 0, False: 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        kind = draw_glasses_kind(rng)
        canvas.mask[:] = 0
        eye = canvas.cover(ellipse((0.617, 0.48), (0.04, 0.02)))
        canvas.claim(eye, "l_eye")
        draw_glasses(canvas, AHEAD, kind, rng)
        assert (canvas.mask == IDS["eye_g"]).any()
        assert (canvas.mask == IDS["l_eye"]).any() != kind.dark
        shown[kind.dark] += 1
    assert shown[True] > 2
    assert shown[False] > 10


@pytest.mark.parametrize("kind", occluders.KINDS, ids=name)
def test_what_hides_a_part_of_the_face_is_background(kind: Callable[..., None], canvas: Canvas):
    for seed in range(8):
        canvas.mask[:] = IDS["skin"]
        kind(canvas, AHEAD, canvas.picture.copy(), np.random.default_rng(seed))
        hidden = canvas.mask == 0
        assert 0.005 < hidden.mean() < 0.6
        low = not hidden[: SIZE // 2 - 4].any()
        assert low or kind is occluders._draw_thing  # pyright: ignore


def test_a_mask_leaves_the_eyes_and_hides_the_mouth(canvas: Canvas, rng: np.random.Generator):
    canvas.mask[:] = IDS["skin"]
    occluders._draw_mask(canvas, AHEAD, canvas.picture.copy(), rng)  # pyright: ignore
    for side in (-1, 1):
        assert canvas.mask[_pixel(AHEAD.surface([(side * EYE[0], EYE[1])])[0])] == IDS["skin"]
    assert canvas.mask[_pixel(AHEAD.surface([(0.0, MOUTH_Y)])[0])] == 0


def _pixel(place: np.ndarray) -> tuple[int, int]:
    """Row and column of a place in the frame."""
    return int(place[1] * SIZE), int(place[0] * SIZE)


def test_proportions_move_the_outline_and_no_feature():
    built = replace(AHEAD, width=1.2, forehead=1.5, chin=1.3)
    eyes = [(-EYE[0], EYE[1]), (EYE[0], EYE[1])]
    np.testing.assert_array_equal(built.surface(eyes), AHEAD.surface(eyes))
    ends = [(0.0, -0.4), (0.0, 0.29), (0.233, -0.1)]
    moved = built.silhouette(ends) - AHEAD.silhouette(ends)
    expected = [(0, 0.5 * -0.2), (0, 0.3 * (0.29 - MOUTH_Y)), (0.2 * 0.233, 0)]
    np.testing.assert_allclose(moved, expected, atol=1e-12)


def test_a_turn_moves_the_back_of_the_head_further_than_its_outline():
    turned = replace(AHEAD, yaw=0.5)
    outline, behind = turned.silhouette([(0.0, 0.0)])[0], turned.behind([(0.0, 0.0)])[0]
    assert behind[0] < outline[0] < 0.5
    np.testing.assert_array_equal(AHEAD.behind([(0.1, 0.0)]), AHEAD.silhouette([(0.1, 0.0)]))


@pytest.mark.parametrize("side", [-1, 1])
def test_earrings_hang_from_ears_of_any_size(side: int, canvas: Canvas):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        ears = draw_ears(rng)
        canvas.mask[:] = 0
        draw_ear(canvas, AHEAD, canvas.picture.copy(), ears, side, rng)
        ear = canvas.mask == IDS["l_ear" if side == 1 else "r_ear"]
        ys, xs = np.nonzero(ear)
        assert (xs / SIZE - 0.5).mean() * side > 0.2
        x, y = ears.lobe(AHEAD, side) * SIZE
        assert xs.min() <= x <= xs.max() + 1
        assert (ys.min() + ys.max()) / 2 < y <= ys.max() + 1


def test_bare_shoulders_have_the_skin_of_the_neck(canvas: Canvas, look: Look, rng: np.random.Generator):
    flat = np.broadcast_to(look.skin, canvas.picture.shape)
    skin = draw_neck(canvas, AHEAD, replace(look, contrast=0.0, age=0.0), flat, True, rng)
    shown = canvas.mask == IDS["neck"]
    assert shown.mean() > 0.05
    inside = shown & (np.roll(shown, 2, 0) & np.roll(shown, -2, 1) & np.roll(shown, 2, 1))
    np.testing.assert_allclose(canvas.picture[inside], skin[inside], atol=0.02)


def test_the_camera_keeps_what_is_seen_at_its_place():
    picture = np.zeros((64, 64, 3), np.float32)
    picture[:, 32:] = 0.8
    kept: list[Any] = []
    for seed in range(40):
        photo = photograph(picture, np.random.default_rng(seed))
        assert photo.shape == (64, 64, 3)
        assert photo.dtype == np.uint8
        kept.append(photo[:, 34:38].mean() > photo[:, 26:30].mean())  # the light may change from side to side
    assert all(kept)
