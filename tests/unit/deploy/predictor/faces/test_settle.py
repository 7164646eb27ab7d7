"""The parsing network moves a finder's frames to where it sees the face, and rejects those that show none."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_helpers import ARRANGEMENT, METADATA, by_color, finder, painted_face, scene, write_painted_model

from deploy.predictor.faces.finder import Face, Finder, Whole
from deploy.predictor.faces.frames import cut_fine
from deploy.predictor.faces.given import Numbers
from deploy.predictor.faces.settle import settle
from deploy.predictor.inputs import Job
from deploy.predictor.model import ExportedModel
from deploy.predictor.photos import Photos
from deploy.predictor.video.tracking import AGAIN_IF_EMPTY, PATIENCE, Track, Tracker

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
    assert moved.confidence == 0.8, "the finder's"
    left, right = (torch.tensor(point) for point in moved.points[:2])
    assert float((right - left).norm()) == pytest.approx((0.622 - 0.379) * 240, abs=4)


@pytest.mark.parametrize(
    ("x", "side", "degrees"), [(330, 240, 20), (300, 320, 20), (300, 240, 38), (300, 240, 2)]
)
def test_a_face_far_from_its_frame_leaves_it_alone(x: float, side: float, degrees: float):
    face = Face((x, 210.0, side, math.radians(degrees)), 0.8, ())
    kept = settle(face, logits(face), ARRANGEMENT)
    assert kept is face


def test_where_no_parts_are_there_is_no_face():
    assert settle(Face(TRUE, 0.9, ()), torch.zeros(19, 64, 64), ARRANGEMENT) is None


OFF = Face((306.0, 206.0, 255.0, math.radians(17)), 0.7, ())
FALSE = Face((90.0, 90.0, 120.0, 0.0), 0.95, ())


def photos(folder: Path, mode: str = "find", listed: Mapping[str, list[Numbers]] | None = None) -> Photos:
    path = write_painted_model(folder / "painted.ts", 256, parser=METADATA)
    return Photos(ExportedModel(path, torch.device("cpu"), "fp32"), finder(), mode, listed)


@pytest.fixture(autouse=True)
def painted_logits_are_sane(monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to 325."""
    monkeypatch.setattr("deploy.predictor.photos.SANE", 1000.0)


def make_up(monkeypatch: pytest.MonkeyPatch, *by_turn: list[Face]) -> None:
    """Lets the finder see these faces in the photo as it is, turned to the left, turned to the right."""
    turns = iter(by_turn)
    monkeypatch.setattr(Finder, "_faces", lambda *_: next(turns))


def test_a_photo_keeps_the_faces_that_both_networks_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_up(monkeypatch, [FALSE, OFF])
    (face,) = photos(tmp_path).faces(Job(Path(), ""), PHOTO) or []
    assert face.frame[2] == pytest.approx(240, rel=0.02)


def test_a_false_frame_does_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_up(monkeypatch, [FALSE], [OFF])
    (face,) = photos(tmp_path).faces(Job(Path(), ""), PHOTO) or []
    assert face.frame[2] == pytest.approx(240, rel=0.02)


def test_a_square_whose_only_face_is_a_false_one_is_an_aligned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A bar hides eyes and brows; skin is left where an aligned face has it."""
    hidden = painted_face(256).copy()
    hidden[90:140] = 0
    monkeypatch.setattr(Photos, "_stays", lambda *_: False)
    make_up(monkeypatch, [replace(FALSE, frame=(40.0, 40.0, 60.0, 0.0))], [], [])
    assert photos(tmp_path, "auto").faces(Job(Path(), ""), hidden) is None


def test_a_square_in_which_only_the_parsing_network_sees_a_face_is_an_aligned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    nothing = Whole(score=0.0, shift=0.7, growth=9.0, turn=0.0, cover=0.0)
    monkeypatch.setattr(Finder, "whole", lambda *_: nothing)
    make_up(monkeypatch, *[[]] * 12)
    both = photos(tmp_path, "auto")
    assert both.faces(Job(Path(), ""), painted_face(256)) is None
    for other in (np.zeros((256, 256, 3), np.uint8), scene(256, 256, (128, 128, 180, 0))):
        assert both.faces(Job(Path(), ""), other) == []
    monkeypatch.setattr(Photos, "face_logits", lambda *_: torch.full((19, 64, 64), math.nan))
    assert both.faces(Job(Path(), ""), painted_face(256)) == []


def test_a_network_that_explodes_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The parse tells of it then."""
    make_up(monkeypatch, [FALSE])
    monkeypatch.setattr(Photos, "face_logits", lambda *_: torch.full((19, 64, 64), math.nan))
    assert photos(tmp_path).faces(Job(Path(), ""), PHOTO) == [FALSE]


def test_a_face_that_somebody_has_listed_is_moved_and_never_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Finder, "locate", lambda *_: [FALSE, OFF])
    listed = photos(tmp_path, "file", {"a.jpg": [(30.0, 30.0, 150.0, 150.0)] * 2})
    found = listed.faces(Job(Path("a.jpg"), "a"), PHOTO)
    assert found is not None
    assert found[0] == FALSE
    assert found[1].frame[2] == pytest.approx(240, rel=0.02)


def test_a_video_takes_no_face_that_the_parsing_network_rejects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = photos(tmp_path)
    make_up(monkeypatch, [FALSE, OFF], [FALSE, OFF])
    tracker = Tracker(made.model, made, 0.0)
    tracker.parse(Job(Path(), ""), PHOTO)
    assert [track.face.frame[2] for track in tracker.tracks] == [pytest.approx(240, rel=0.02)]


def followed(monkeypatch: pytest.MonkeyPatch, made: Photos, *tracks: Track) -> Tracker:
    """A tracker within a video: the finder sees every track where it was, and finds nothing else."""
    monkeypatch.setattr(Finder, "follow", lambda _, __, faces: list(faces))
    monkeypatch.setattr(Photos, "find", lambda *_: [])
    tracker = Tracker(made.model, made, 0.0)
    tracker.tracks, tracker._seen = list(tracks), 1  # pyright: ignore
    return tracker


WITHIN = Face((300.0, 210.0, 90.0, 0.3), 0.9, ())
"""Shows the middle of the face alone, from which nobody can tell where the rest is."""


def test_a_followed_face_that_the_parsing_network_rejects_has_no_labels_and_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tracker = followed(monkeypatch, photos(tmp_path), Track(1, WITHIN))
    for _ in range(PATIENCE):
        parsed = tracker.parse(Job(Path(), ""), PHOTO)
        assert (parsed.faces, tracker.shown) == ([], [])
        assert not parsed.labels.any()
        assert [track.number for track in tracker.tracks] == [1]
    tracker.parse(Job(Path(), ""), PHOTO)
    assert tracker.tracks == []


def test_a_followed_face_that_is_seen_again_keeps_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tracker = followed(monkeypatch, photos(tmp_path), Track(7, OFF, doubted=PATIENCE - 1))
    assert tracker.parse(Job(Path(), ""), PHOTO).labels.any()
    assert [(track.number, track.doubted) for track in tracker.shown] == [(7, 0)]


def test_a_search_puts_a_rejected_frame_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Before it is given up, and where nobody else is seen in every fifth frame."""
    tracker = followed(monkeypatch, photos(tmp_path), Track(3, WITHIN, doubted=PATIENCE))
    monkeypatch.setattr(Photos, "find", lambda *_: [OFF])
    parsed = tracker.parse(Job(Path(), ""), PHOTO)
    assert parsed.faces == [OFF]
    assert [(track.number, track.doubted) for track in tracker.tracks] == [(3, 0)]
    tracker.tracks, tracker._seen = [Track(4, WITHIN, doubted=1)], AGAIN_IF_EMPTY  # pyright: ignore
    assert tracker.parse(Job(Path(), ""), PHOTO).faces == [OFF]


def test_a_missed_face_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Something passes before it: its frame keeps what labels there are."""
    tracker = followed(monkeypatch, photos(tmp_path), Track(1, WITHIN))
    monkeypatch.setattr(Finder, "follow", lambda _, __, faces: [None for _ in faces])
    assert tracker.parse(Job(Path(), ""), PHOTO).labels.any()
    assert [(track.missed, track.doubted) for track in tracker.tracks] == [(1, 0)]
