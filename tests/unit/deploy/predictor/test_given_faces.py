"""--faces FILE: boxes and points of another program, painted photographs and a model that knows colours."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import parse
from PIL import Image
from scene_helpers import found, save, scene, write_painted_model

WHERE = (300.0, 200.0, 240.0, 20.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


def test_a_list_names_pictures_by_their_place_below_the_input(model: Path, tmp_path: Path):
    photo = scene(600, 400, WHERE)
    source = save(tmp_path / "in", a=photo)
    save(tmp_path / "in/sub", a=photo, b=photo)
    Image.fromarray(photo).save(source / "sub/a.jpg")
    box, elsewhere = "200,100,400,300", "0,0,40,40"
    rows = [f"a.png,{elsewhere}", f"sub/a.png,{box}", f"sub/a.jpg,{box}", f"b.png,{box}"]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "boxes.csv")) == 0
    for name in ("sub/a.png", "sub/a.jpg", "sub/b"):
        row = json.loads((tmp_path / f"out/faces/{name}.json").read_text())
        assert row["faces"][0]["frame"]["centre"] == pytest.approx([300, 200], abs=6), name
    rows = [f"a.png,{elsewhere}", *(f"sub/{name},{box}" for name in ("a.png", "a.jpg", "b.png"))]
    (tmp_path / "boxes.csv").write_text("\n".join(f"{tmp_path}/out/../in/{row}" for row in rows))
    assert parse(model, source, tmp_path / "out3", "--faces", str(tmp_path / "boxes.csv")) == 0
    assert (tmp_path / "out3/sub/b.png").read_bytes() == (tmp_path / "out/sub/b.png").read_bytes()
    (tmp_path / "boxes.csv").write_text(f"a.png,{box}")
    assert parse(model, source, tmp_path / "out2", "--faces", str(tmp_path / "boxes.csv")) == 1
    failed = json.loads((tmp_path / "out2/report.json").read_text())["failed"]
    assert len(failed) == 3, "a name alone is of one picture or of none"


def test_a_list_of_more_than_the_input_gives_each_picture_its_own(model: Path, tmp_path: Path):
    """Cameras repeat their names: 101/a.png is not a.png, whatever --input is."""
    save(tmp_path / "cam", a=scene(600, 400, WHERE))
    save(tmp_path / "cam/101", a=scene(600, 400, WHERE))
    (tmp_path / "boxes.csv").write_text("a.png,0,0,40,40\n101/a.png,200,100,400,300")
    for source in (tmp_path / "cam/101", tmp_path / "cam/101/a.png", tmp_path / "cam"):
        output = tmp_path / f"out{len(str(source))}"
        assert parse(model, source, output, "--faces", str(tmp_path / "boxes.csv")) == 0
        piece = output / ("faces/101/a.json" if source.name == "cam" else "faces/a.json")
        assert json.loads(piece.read_text())["faces"][0]["box"][2] > 300, source


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no pipes by name here")
def test_a_list_may_come_through_a_pipe(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    noted: list[str] = []
    for box in ([200, 100, 400, 300], [210, 110, 410, 310]):
        reading, writing = os.pipe()
        os.write(writing, json.dumps({"picture": "photo.png", "box": box}).encode())
        os.close(writing)
        assert parse(model, source, tmp_path / "out", "--faces", f"/dev/fd/{reading}") == 0
        os.close(reading)
        noted.append(json.loads((tmp_path / "out/.predict.json").read_text())["faces"])
    assert len({*noted}) == 2
    assert json.loads((tmp_path / "out/report.json").read_text())["done"] == 1


POINTS = [(0.379, 0.478), (0.622, 0.478), (0.498, 0.6), (0.41, 0.75), (0.59, 0.75)]


def points(x: float, y: float, side: float, degrees: float) -> list[list[float]]:
    c, s = math.cos(math.radians(degrees)) * side, math.sin(math.radians(degrees)) * side
    return [[x + c * (u - 0.5) - s * (v - 0.5), y + s * (u - 0.5) + c * (v - 0.5)] for u, v in POINTS]


@pytest.mark.parametrize("swapped", [False, True])
def test_five_points_from_another_program(swapped: bool, model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE), other=scene(300, 300, (150, 150, 200, 0)))
    five = points(*WHERE)
    if swapped:
        five = [five[index] for index in (1, 0, 2, 4, 3)]
    lines = [{"picture": "photo.png", "points": five}, {"picture": "other.png", "faces": []}]
    (tmp_path / "faces.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "faces.jsonl")) == 0
    rows = found(tmp_path / "out")
    (face,) = rows["photo"]["faces"]
    assert face["frame"]["centre"] == pytest.approx([300, 200], abs=6)
    assert face["angle"] == pytest.approx(20, abs=2)
    assert rows["other"]["faces"] == []


def test_points_need_no_finder_and_boxes_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = write_painted_model(tmp_path / "large.ts", reason="it was trained at 512 pixels")
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    flat = [value for pair in points(*WHERE) for value in pair]
    (tmp_path / "points.csv").write_text("photo.png," + ",".join(map(str, flat)) + "\n")
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "points.csv")) == 0
    (face,) = found(tmp_path / "out")["photo"]["faces"]
    # By CelebA-HQ's formula, whose frames are a little larger or smaller than the mean face's.
    assert face["frame"]["centre"] == pytest.approx([300, 200], abs=10)
    assert face["frame"]["side"] == pytest.approx(240, rel=0.06)
    (tmp_path / "boxes.csv").write_text("picture,left,top,right,bottom\nphoto.png,200,100,400,300\n")
    assert parse(model, source, tmp_path / "out2", "--faces", str(tmp_path / "boxes.csv")) == 2
    assert "can't pull boxes into place: it was trained at 512 pixels" in capsys.readouterr().err


def test_a_poor_box_is_pulled_into_place(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, (300, 200, 240, 0)))
    (tmp_path / "boxes.csv").write_text("photo.png,250,140,400,300\n")
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "boxes.csv")) == 0
    (face,) = found(tmp_path / "out")["photo"]["faces"]
    assert face["frame"]["centre"] == pytest.approx([300, 200], abs=6)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "photo.png,1,2,3\n", "3 numbers: a face has ten"),
        ("a.csv", "photo.png,1,2,3,4,5,6,7,8,,\n", "could not convert"),
        ("a.csv", "photo.png,1,2,nan,4\n", "all within 10,000,000"),
        ("a.csv", "photo.png,1,2,1e39,1e39\n", "all within 10,000,000"),
        ("a.csv", "photo.png,10,2,3,4\n", "left, top, right, bottom"),
        ("a.csv", "photo.png,5,5,5,5,5,5,5,5,5,5\n", "eyes and mouth lie on one spot"),
        ("a.jsonl", '{"picture": "photo.png"}\n', "'box' is missing"),
        ("a.jsonl", '{"box": [1, 2, 3, 4]}\n', "'picture' is missing"),
        ("a.jsonl", '{"picture": "photo.png", "points": [[1, 2], [3, 4]]}\n', "4 numbers"),
        ("a.jsonl", "no json\n", "line 0 or after it"),
        ("a.csv", ",1,2,3,4\n", "'' names no picture"),
        ("a.jsonl", '{"picture": "a\\u0000b.jpg", "faces": []}', "names no picture"),
        ("a.jsonl", '{"picture": "\\ud800.jpg", "faces": []}', "can't encode"),
        pytest.param("a.csv", 'photo.png,"' + "1" * 140_000, "larger than field limit", id="open quote"),
        pytest.param("a.jsonl", "[" * 100_000, "recursion", id="deep"),
        ("a.jsonl", "", "names no picture"),
        ("a.jsonl", '{"picture": "photo.png", "box": [0.1, 0.3, 0.33, 0.74]}', "pixels, not shares"),
        ("a.csv", "photo.png,8O,15,30,37\nphoto.png,5,5,40,30", "line 1 or after it: could not convert"),
    ],
)
def test_a_file_with_missing_points_is_one_line(
    name: str, text: str, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = save(tmp_path / "in", photo=scene(60, 40, (30, 20, 30, 0)))
    (tmp_path / name).write_text(text)
    if message == "4 numbers":  # two points are read as a box: no face is so flat
        message = ""
    code = parse(model, source, tmp_path / "out", "--faces", str(tmp_path / name))
    if not message:
        assert code == 0
        return
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --faces {tmp_path / name}: ")
    assert message in error


def test_a_picture_that_the_file_does_not_name_fails_alone(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE), other=scene(60, 40, (30, 20, 30, 0)))
    (tmp_path / "boxes.csv").write_text("photo.png,200,100,400,300\n")
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "boxes.csv")) == 1
    failed = json.loads((tmp_path / "out/report.json").read_text())["failed"]
    assert list(failed.values()) == ["the file of --faces does not name it"]
    assert (tmp_path / "out/photo.png").exists()


@pytest.mark.parametrize("box", ["3000,3000,3400,3400", "200,-900,400,-700"])
def test_a_face_beside_the_picture_fails_alone(box: str, model: Path, tmp_path: Path):
    """A list that was made on the larger original: all would be background."""
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    (tmp_path / "boxes.csv").write_text(f"photo.png,{box}\n")
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "boxes.csv")) == 1
    failed = json.loads((tmp_path / "out/report.json").read_text())["failed"]
    assert "lies outside of its 600x400 pixels" in next(iter(failed.values()))


def test_a_box_ends_where_the_picture_ends(model: Path, tmp_path: Path):
    """Of a face that shows nothing: a negative row or column would be another one to whoever slices by it."""
    source = save(tmp_path / "in", photo=np.zeros((40, 60, 3), np.uint8))
    five = points(5, 35, 60, 0)
    (tmp_path / "a.jsonl").write_text(json.dumps({"picture": "photo.png", "points": five}))
    assert parse(model, source, tmp_path / "out", "--faces", str(tmp_path / "a.jsonl")) == 0
    (face,) = found(tmp_path / "out")["photo"]["faces"]
    assert face["frame"]["centre"] == pytest.approx([5, 35], abs=3)
    left, top, right, bottom = face["box"]
    assert (left, bottom) == (0, 40)
    assert 0 < top < bottom
    assert left < right < 60
