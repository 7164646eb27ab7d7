"""The parsing network moves a finder's frames to where it sees the face, and rejects those that show none."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scene_helpers import ARRANGEMENT, METADATA, by_color, finder, scene, write_painted_model

from deploy.predictor.faces.finder import Face, Finder
from deploy.predictor.faces.frames import cut_fine
from deploy.predictor.faces.settle import settle
from deploy.predictor.inputs import Job
from deploy.predictor.model import ExportedModel
from deploy.predictor.photos import Photos
from deploy.predictor.pictures import Pixels

TRUE = (300.0, 210.0, 240.0, math.radians(20))
PHOTO = scene(600, 420, (300, 210, 240, 20))


def logits(face: Face) -> torch.Tensor:
    return by_color(cut_fine(PHOTO, torch.tensor(face.frame), 256))[0]


@pytest.mark.parametrize("growth", [0.93, 1.08])
def test_a_frame_moves_to_the_face(growth: float):
    face = Face((304.0, 206.0, 240 * growth, math.radians(17)), 0.8, ())
    moved = settle(face, logits(face), ARRANGEMENT)
    assert moved is not None
    assert math.hypot(moved.frame[0] - TRUE[0], moved.frame[1] - TRUE[1]) < 2
    assert moved.frame[2] == pytest.approx(240, rel=0.02)
    assert math.degrees(moved.frame[3]) == pytest.approx(20, abs=1)
    assert moved.confidence > 0.9
    left, right = (torch.tensor(point) for point in moved.points[:2])
    assert float((right - left).norm()) == pytest.approx((0.622 - 0.379) * 240, abs=4)


def test_a_face_far_from_its_frame_leaves_it_alone():
    face = Face((300.0, 210.0, 320.0, math.radians(20)), 0.8, ())
    kept = settle(face, logits(face), ARRANGEMENT)
    assert kept is not None
    assert kept.frame == face.frame


@pytest.mark.parametrize("fill", [0.0, math.nan])
def test_where_no_parts_are_there_is_no_face(fill: float):
    nothing = torch.full((19, 64, 64), fill)
    assert settle(Face(TRUE, 0.9, ()), nothing, ARRANGEMENT) is None


def test_a_photo_keeps_the_faces_that_both_networks_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_painted_model(tmp_path / "painted.ts", 256, parser=METADATA)
    model = ExportedModel(path, torch.device("cpu"), "fp32")
    off = Face((306.0, 206.0, 255.0, math.radians(17)), 0.7, ())
    false = replace(off, frame=(90.0, 90.0, 120.0, 0.0), confidence=0.95)
    monkeypatch.setattr(Finder, "find", lambda finder, photo: [false, off])
    (face,) = Photos(model, finder(), "find").faces(Job(Path(), ""), PHOTO) or []
    assert face.frame[2] == pytest.approx(240, rel=0.02)
    del model.metadata["faces"]["parser"]
    assert Photos(model, finder(), "find").faces(Job(Path(), ""), PHOTO) == [false, off]


def test_a_face_that_somebody_has_listed_is_never_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_painted_model(tmp_path / "painted.ts", 256, parser=METADATA)
    model = ExportedModel(path, torch.device("cpu"), "fp32")
    listed = {"a.jpg": [[30.0, 30.0, 150.0, 150.0]]}

    def located(finder: Finder, photo: Pixels, given: object) -> list[Face]:
        return [Face((90.0, 90.0, 120.0, 0.0), 0.0, ())]

    monkeypatch.setattr(Finder, "locate", located)
    found = Photos(model, finder(), "file", listed).faces(Job(Path("a.jpg"), "a"), PHOTO)
    assert found == [Face((90.0, 90.0, 120.0, 0.0), 0.0, ())]
