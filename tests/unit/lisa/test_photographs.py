"""lisa.load(...)(photo, faces="find"): by the program in the exported file, the same as the command's."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import parse, read_ids, write_checkpoint
from PIL import Image
from scene_helpers import painted_face, scene, write_painted_model

import lisa
from deploy.bundle import append_predictor
from lisa.errors import InputError

WHERE = (300.0, 200.0, 240.0, 20.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")
    content = io.BytesIO(path.read_bytes())
    append_predictor(content)
    path.write_bytes(content.getvalue())
    return path


def test_a_photo_in_python_is_the_commands(model: Path, tmp_path: Path):
    photo = scene(600, 400, WHERE)
    (tmp_path / "in").mkdir()
    Image.fromarray(photo).save(tmp_path / "in/photo.png")
    assert parse(model, tmp_path / "in", tmp_path / "out", "--faces", "find") == 0
    parser = lisa.load(model, device="cpu")
    found = parser(photo, faces="find")
    assert np.array_equal(found.ids, read_ids(tmp_path / "out/photo.png"))
    assert found.faces is not None
    (face,) = found.faces
    assert face.angle == pytest.approx(20, abs=3)
    assert face.box[0] < 300 < face.box[2]
    assert len(face.points) == 5
    assert parser(np.zeros((80, 200, 3), np.uint8), faces="find").faces == ()


def test_the_process_that_called_keeps_its_switches(model: Path, monkeypatch: pytest.MonkeyPatch):
    """The program sets them for itself where it is the process: TF32 on CUDA, and torch's fuser."""
    parser = lisa.load(model, device="cpu")
    monkeypatch.setattr(torch.jit, "set_fusion_strategy", lambda strategy: pytest.fail("a switch"))
    assert parser(scene(600, 400, WHERE), faces="find").faces


def test_an_aligned_face_is_a_frame(model: Path):
    parser, aligned = lisa.load(model, device="cpu"), painted_face(200)
    assert parser(aligned).faces is None
    found = parser(aligned, faces="auto")
    assert found.faces is None
    assert np.array_equal(found.ids, parser(aligned).ids)


def test_boxes_and_points_of_another_program(model: Path):
    photo = scene(600, 400, WHERE)
    parser = lisa.load(model, device="cpu")
    found = parser(photo, faces="find")
    assert found.faces is not None
    (face,) = found.faces
    for place in (face.box, face.points, np.array(face.points)):
        given = parser(photo, faces=[place])
        assert given.faces is not None
        assert given.faces[0].angle == pytest.approx(20, abs=4)
        assert (given.ids == found.ids).mean() > 0.97
    assert parser(photo, faces=[]).faces == ()
    for wrong, said in (
        ((1, 2, 3), r"one of shape \(3,\): a box is \(4,\), five points \(5,2\)"),
        (np.array(face.points).T, r"one of shape \(2, 5\)"),
        ((2000, 2000, 2100, 2100), r"its face .* lies outside of its 600x400 pixels"),
        ((5, 5, 4, 9), "left, top, right, bottom"),
        ((0, 0, 1, float("nan")), "all within 10,000,000"),
        (("a", "b", "c", "d"), "could not convert"),
    ):
        with pytest.raises(lisa.InputError, match=said):
            parser(photo, faces=[wrong])  # pyright: ignore[reportArgumentType]


def test_a_mode_that_is_none_is_refused(model: Path):
    with pytest.raises(lisa.InputError, match=r"faces 'faces\.jsonl': one of frame, find, auto, or boxes"):
        lisa.load(model, device="cpu")(painted_face(64), faces="faces.jsonl")  # pyright: ignore[reportArgumentType]


def test_points_need_no_finder(tmp_path: Path, model: Path):
    photo = scene(600, 400, WHERE)
    found = lisa.load(model, device="cpu")(photo, faces="find")
    assert found.faces is not None
    content = io.BytesIO(write_painted_model(tmp_path / "big.ts", reason="it is too large").read_bytes())
    append_predictor(content)
    (tmp_path / "big.ts").write_bytes(content.getvalue())
    parser = lisa.load(tmp_path / "big.ts", device="cpu")
    assert (parser(photo, faces=[found.faces[0].points]).ids == found.ids).mean() > 0.95
    with pytest.raises(lisa.InputError, match="finds no faces: it is too large"):
        parser(photo, faces=[found.faces[0].box])


def test_what_can_find_no_faces_says_so(tmp_path: Path):
    photo = scene(300, 200, (150, 100, 120, 0))
    parser = lisa.load(write_checkpoint(tmp_path / "best.pt"), device="cpu")
    with pytest.raises(lisa.InputError, match=r"to find them export it: python -m deploy\.export"):
        parser(photo, faces="find")
    content = io.BytesIO(write_painted_model(tmp_path / "big.ts", reason="it is too large").read_bytes())
    append_predictor(content)
    (tmp_path / "big.ts").write_bytes(content.getvalue())
    with pytest.raises(lisa.InputError, match=r"big\.ts: finds no faces: it is too large"):
        lisa.load(tmp_path / "big.ts", device="cpu")(photo, faces="find")
    old = write_painted_model(tmp_path / "old.ts")
    with pytest.raises(lisa.InputError, match=r"old\.ts: was exported before"):
        lisa.load(old, device="cpu")(photo, faces="find")


def test_a_file_that_was_written_anew_is_read_anew(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Python remembers what a zip file of this path held; the path may be of another working folder too."""
    monkeypatch.chdir(tmp_path)
    content, empty = model.read_bytes(), np.zeros((80, 200, 3), np.uint8)
    Path("new.ts").write_bytes(content)
    assert lisa.load("new.ts", device="cpu")(empty, faces="find").faces == ()
    longer = io.BytesIO(write_painted_model(tmp_path / "plain.ts").read_bytes())
    with zipfile.ZipFile(longer, "a") as archive:
        archive.writestr("painted/extra/padding", bytes(4321))
    append_predictor(longer)
    Path("new.ts").write_bytes(longer.getvalue())
    parser = lisa.load("new.ts", device="cpu")
    monkeypatch.chdir("/")
    assert parser(empty, faces="find").faces == ()


def test_a_file_that_was_replaced_since_finds_no_faces(model: Path, tmp_path: Path):
    """Its finder would be another network's than its labels."""
    path = tmp_path / "lisa.ts"
    path.write_bytes(model.read_bytes())
    used, late = lisa.load(path, device="cpu"), lisa.load(path, device="cpu")
    photo = scene(600, 400, WHERE)
    before = used(photo, faces="find").ids
    (tmp_path / "new.ts").write_bytes(model.read_bytes())
    (tmp_path / "new.ts").replace(path)
    with pytest.raises(InputError, match="another file since it was loaded: load it again"):
        late(photo, faces="find")
    assert np.array_equal(used(photo, faces="find").ids, before)
    path.unlink()
    with pytest.raises(InputError, match="is gone"):
        late(photo, faces="find")
    assert late(photo).faces is None
