"""Scenes: seeded, with labels where the faces are; figures that a perfect network gets right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scene_helpers import painted_face, scene, write_painted_model

from benchmarks.photos.__main__ import Score, measure
from benchmarks.photos.backgrounds import WITHOUT, background
from benchmarks.photos.scenes import COVERS, GROUPS, STRESS, Scene, build, patches_of
from deploy.predictor.faces.finder import Face
from deploy.predictor.finding import open_finder
from deploy.predictor.model import ExportedModel
from deploy.predictor.photos import Photos
from deploy.predictor.pictures import Pixels
from lisa.data.pairs import Pair
from lisa.labels import IGNORE_INDEX, PALETTE

PLAIN = [Image.new("RGB", (40, 40), color) for color in ((0, 0, 0), (20, 20, 20))]
"""Pieces that the painted network takes for background."""


def ids_of(painted: Pixels) -> Pixels:
    colors = np.array(PALETTE, np.int64).reshape(-1, 3)
    return ((painted[:, :, None].astype(int) - colors) ** 2).sum(3).argmin(2).astype(np.uint8)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    folder = tmp_path_factory.mktemp("faces")
    painted = painted_face()
    Image.fromarray(painted).save(folder / "face.png")
    Image.fromarray(ids_of(painted)).save(folder / "mask.png")
    return [Pair(folder / "face.png", folder / "mask.png")]


@pytest.mark.parametrize("kind", WITHOUT)
def test_every_background_is_a_picture(kind: str):
    made = background(kind, 120, 80, np.random.default_rng(0), PLAIN)
    assert (made.size, made.mode) == ((120, 80), "RGB")


def test_scenes_are_seeded_and_hold_as_many_faces_as_asked(pairs: list[Pair]):
    for group in (*GROUPS, *STRESS):
        one, again = (build(group, 1, 0, pairs, PLAIN) for _ in range(2))
        assert np.array_equal(one.photo, again.photo)
        assert one.photo.shape[:2] == one.mask.shape
        assert len(one.faces) <= group.faces
        assert bool(one.faces) == bool(group.faces)
        assert one.mask.any() == bool(group.faces)
    assert not np.array_equal(
        build(GROUPS[0], 1, 1, pairs, PLAIN).photo, build(GROUPS[0], 1, 0, pairs, PLAIN).photo
    )


def test_covered_and_dark_faces_are_what_they_are_called(pairs: list[Pair]):
    groups = {group.name: build(group, 1, 0, pairs, PLAIN) for group in STRESS}
    covered = {name: (scene.mask == IGNORE_INDEX).sum() / 192**2 for name, scene in groups.items()}
    assert {name for name, share in covered.items() if share > 0} == set(COVERS)
    assert covered["half covered"] == pytest.approx(0.5, abs=0.02)
    assert covered["face mask"] == pytest.approx(0.16, abs=0.04)
    assert groups["dark"].photo.max() < 0.31 * 255
    assert groups["48 pixels"].faces[0][2] == 48
    assert abs(groups["60 degrees"].faces[0][3]) == 60


def test_a_perfect_network_finds_the_painted_faces(tmp_path: Path):
    model = ExportedModel(write_painted_model(tmp_path / "painted.ts"), torch.device("cpu"), "fp32")
    photos = Photos(model, open_finder(model, tmp_path / "painted.ts"), "find")
    score = Score()
    for place in ((300.0, 200.0, 240.0, 15.0), (260.0, 190.0, 200.0, -10.0)):
        photo = scene(600, 400, place)
        measure(photos, Scene(photo, ids_of(photo), (place,)), score)
    assert score.found == score.faces == 2
    assert score.false == 0
    assert max(score.centres) < 0.03
    assert max(score.angles) < 3
    assert score.miou("found") == pytest.approx(score.miou("true"), abs=5)
    assert score.miou("found") > score.miou("frame") + 10


def test_frames_are_paired_once_and_the_rest_are_false():
    score = Score()
    face = Face((100, 100, 200, 0), 0.9, ())
    score.match(
        ((100, 100, 200, 5),), [face, Face((104, 100, 200, 0), 0.8, ()), Face((500, 100, 60, 0), 0.8, ())]
    )
    assert (score.faces, score.found, score.false) == (1, 1, 2)
    assert score.angles == pytest.approx([5])


def test_patches_hold_no_part_of_a_face(pairs: list[Pair]):
    found = patches_of(pairs, [2, 4, 5, 6, 7, 10, 11, 12], 0)
    eyes = np.array([PALETTE[3 * 4 : 3 * 4 + 3], PALETTE[3 * 5 : 3 * 5 + 3]])
    assert found
    assert not any((np.asarray(patch)[:, :, None] == eyes).all(3).any() for patch in found)
