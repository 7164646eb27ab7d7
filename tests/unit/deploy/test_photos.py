"""--faces, from the command line to the files: painted photographs and a model that knows colours."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_helpers import files, parse, read_ids
from PIL import Image
from scene_helpers import painted_face, scene, write_painted_model

from deploy.predictor.faces.finder import Finder
from deploy.predictor.pictures import Pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


def save(folder: Path, **pictures: Pixels) -> Path:
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def found(output: Path) -> dict[str, Any]:
    return {Path(row["picture"]).stem: row for row in json.loads((output / "faces.json").read_text())}


AUTO = ("--faces", "auto")
WHERE = (300.0, 200.0, 240.0, 20.0)


def test_a_photo_and_an_aligned_face_side_by_side(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photo, aligned = scene(600, 400, WHERE), painted_face(200)
    source = save(tmp_path / "in", photo=photo, aligned=aligned, empty=np.zeros((90, 200, 3), np.uint8))
    output = tmp_path / "out"
    assert (
        parse(model, source, output, *AUTO, "--gallery", "--parts", "face=skin+nose+eyes", "--cutout", "hair")
        == 0
    )
    assert (
        "1 faces in 2 photographs, none in 1 of them; 1 pictures are aligned faces" in capsys.readouterr().out
    )
    rows = found(output)
    assert rows["aligned"] == {**rows["aligned"], "aligned": True, "faces": []}
    assert rows["empty"]["faces"] == []
    (face,) = rows["photo"]["faces"]
    assert face["angle"] == pytest.approx(20, abs=3)
    assert face["frame"]["centre"] == pytest.approx([300, 200], abs=6)
    assert face["frame"]["side"] == pytest.approx(240, rel=0.05)
    assert face["confidence"] > 0.6
    left, top, right, bottom = face["box"]
    assert left < 270 < 330 < right
    assert top < 180 < 250 < bottom
    assert len(face["points"]) == 5
    ids = read_ids(output / "photo.png")
    assert face["pixels"]["skin"] == int((ids == 1).sum())
    assert not read_ids(output / "empty.png").any()
    assert "faces/photo.json" in files(output)
    assert "parts/face/photo.png" in files(output)
    frame_output = tmp_path / "frame"
    assert parse(model, source, frame_output, "--faces", "frame") == 0
    assert np.array_equal(read_ids(frame_output / "aligned.png"), read_ids(output / "aligned.png"))
    assert not [name for name in files(frame_output) if name.startswith("faces")]


def test_labels_of_a_photo_are_the_paintings(model: Path, tmp_path: Path):
    photo = scene(600, 400, WHERE)
    source = save(tmp_path / "in", photo=photo)
    assert parse(model, source, tmp_path / "out", "--faces", "find", "--color") == 0
    with Image.open(tmp_path / "out/color/photo.png") as image:
        same = (np.asarray(image) == photo).all(2)
    assert same.mean() > 0.98


def test_cutouts_are_soft_and_of_the_photos_size(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE), aligned=painted_face(200))
    assert parse(model, source, tmp_path / "out", *AUTO, "--cutout", "skin,lips") == 0
    for name, size in (("photo", (600, 400)), ("aligned", (200, 200))):
        with Image.open(tmp_path / f"out/cutout/{name}.png") as image:
            assert (image.mode, image.size) == ("RGBA", size)
            alpha = np.asarray(image)[..., 3]
        ids = read_ids(tmp_path / f"out/{name}.png")
        inside = np.isin(ids, (1, 10, 11, 12))
        assert alpha[inside].mean() > 200
        assert alpha[~inside].mean() < 20
        assert ((alpha > 20) & (alpha < 235)).sum() > 50, "edges are soft"


def test_cutouts_of_the_background_have_all_around_the_faces(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    assert parse(model, source, tmp_path / "out", "--faces", "find", "--cutout", "background") == 0
    with Image.open(tmp_path / "out/cutout/photo.png") as image:
        alpha = np.asarray(image)[..., 3]
    background = read_ids(tmp_path / "out/photo.png") == 0
    assert background[:40, :40].all()
    assert (alpha[:40, :40] == 255).all()
    assert alpha[background].mean() > 235
    assert alpha[~background].mean() < 50


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
    (tmp_path / "boxes.csv").write_text(f"a.png,{box}")
    assert parse(model, source, tmp_path / "out2", "--faces", str(tmp_path / "boxes.csv")) == 1
    failed = json.loads((tmp_path / "out2/report.json").read_text())["failed"]
    assert len(failed) == 3, "a name alone is of one picture or of none"


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
        ("a.jsonl", "", "names no picture"),
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


def test_what_a_model_without_a_finder_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = write_painted_model(tmp_path / "large.ts", reason="it was trained at 512 pixels")
    source = save(tmp_path / "in", photo=scene(300, 200, (150, 100, 120, 0)))
    for asked in ("find", "auto"):
        assert parse(model, source, tmp_path / "out", "--faces", asked) == 2
        message = f"--faces {asked}: this model finds no faces: it was trained at 512 pixels"
        assert message in capsys.readouterr().err
    assert parse(model, source, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "1 done as frames look like photographs: it was trained at 512 pixels" in shown
    assert files(tmp_path / "out") == ["photo.png"]
    assert parse(model, source, tmp_path / "out2", "--face-maps") == 2
    assert "--face-maps: this model finds no faces: it was trained at 512" in capsys.readouterr().err


def test_faces_are_looked_for_by_default(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE), aligned=painted_face(200))
    for output, options in (("default", ()), ("auto", AUTO)):
        assert parse(model, source, tmp_path / output, *options) == 0
    outputs = tmp_path / "default", tmp_path / "auto"
    assert len(found(outputs[0])["photo"]["faces"]) == 1
    for name in files(outputs[1]):
        if name != "report.json":
            assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()


@pytest.mark.parametrize("options", [("--faces", "frame"), ("--fit", "pad"), ("--fit", "crop")])
def test_photographs_that_are_taken_as_frames_are_pointed_out(
    options: tuple[str, ...], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """--fit says how a face fills its frame: whoever gives one has no photographs."""
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    assert parse(model, source, tmp_path / "out", *options) == 0
    assert "1 done as frames look like photographs: --faces find looks for" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["photo.png"]


def test_a_face_that_is_half_hidden_fills_its_square_all_the_same(model: Path, tmp_path: Path):
    """A bar over eyes, or over nose and mouth: no face is found, and skin is left where one would be."""
    hidden = {"eyes": painted_face(200).copy(), "mouth": painted_face(200).copy()}
    hidden["eyes"][80:110] = 0
    hidden["mouth"][110:170] = 0
    source = save(tmp_path / "in", **hidden, page=np.zeros((200, 200, 3), np.uint8))
    assert parse(model, source, tmp_path / "out") == 0
    rows = found(tmp_path / "out")
    assert {name: row["aligned"] for name, row in rows.items()} == {
        "eyes": True,
        "mouth": True,
        "page": False,
    }
    assert (read_ids(tmp_path / "out/eyes.png") == 1).mean() > 0.1


def test_a_face_that_stays_in_its_square_is_not_searched_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A face that lies too far off its place for one look: a search takes seconds."""
    source = save(tmp_path / "in", shifted=scene(300, 300, (178, 150, 300, 0)))

    def search(finder: Finder, picture: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(Finder, "find", search)
    assert parse(model, source, tmp_path / "out") == 0
    assert found(tmp_path / "out")["shifted"]["aligned"]


def test_the_same_command_goes_on_and_tells_of_all(model: Path, tmp_path: Path):
    source = save(tmp_path / "in", one=scene(600, 400, WHERE))
    assert parse(model, source, tmp_path / "out", *AUTO) == 0
    save(source, two=scene(500, 400, (200, 200, 200, 0)))
    assert parse(model, source, tmp_path / "out", *AUTO) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert (report["done"], report["skipped"]) == (1, 1)
    assert set(found(tmp_path / "out")) == {"one", "two"}


@pytest.mark.parametrize("option", ["--parts", "--cutout"])
def test_names_that_mean_nothing(
    option: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = save(tmp_path / "in", photo=scene(60, 40, (30, 20, 30, 0)))
    assert parse(model, source, tmp_path / "out", option, "hair,wings") == 2
    assert f"{option} wings: one of background, skin" in capsys.readouterr().err
    assert parse(model, source, tmp_path / "out", "--parts", "../x=hair") == 2


def test_faults(model: Path, tmp_path: Path):
    """1x1, noise, grey, black, half a face at the border, two on one spot, sixteen and more."""
    rng = np.random.default_rng(0)
    crowd = scene(1600, 1200, *((150 + 260 * (n % 6), 160 + 290 * (n // 6), 190, 0) for n in range(24)))
    source = save(
        tmp_path / "in",
        dot=np.full((1, 1, 3), 7, np.uint8),
        line=np.full((1, 300, 3), 7, np.uint8),
        noise=rng.integers(0, 256, (150, 200, 3), dtype=np.uint8),
        grey=np.full((100, 180, 3), 127, np.uint8),
        black=np.zeros((100, 180, 3), np.uint8),
        half=scene(400, 300, (400, 150, 220, 0)),
        twice=scene(500, 400, (250, 200, 220, 0), (262, 204, 230, 3)),
        crowd=crowd,
    )
    assert parse(model, source, tmp_path / "out", "--faces", "find") == 0
    counts = {name: len(row["faces"]) for name, row in found(tmp_path / "out").items()}
    for name in ("dot", "line", "noise", "grey", "black"):
        assert counts[name] == 0
        assert not read_ids(tmp_path / f"out/{name}.png").any()
    assert counts["half"] <= 1
    assert counts["twice"] == 1
    assert 12 <= counts["crowd"] <= 16, "at most so many"


def test_faces_that_overlap_have_maps_of_their_own(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photo = scene(700, 400, (230, 200, 240, 0), (440, 200, 240, 0))
    source = save(tmp_path / "in", photo=photo, empty=np.zeros((100, 200, 3), np.uint8))
    output = tmp_path / "out"
    assert parse(model, source, output, "--faces", "find", "--face-maps") == 0
    rows, ids = found(output), read_ids(output / "photo.png")
    with Image.open(output / "face_maps/photo.tif") as file:
        maps = []
        for page in range(file.n_frames):  # pyright: ignore[reportAttributeAccessIssue]
            file.seek(page)
            assert file.mode == "P"
            maps.append(np.asarray(file).copy())
    assert len(maps) == len(rows["photo"]["faces"]) == 2
    assert {each.shape for each in maps} == {ids.shape}
    for each, face in zip(maps, rows["photo"]["faces"], strict=True):
        columns = np.flatnonzero((each == 1).any(0))
        assert columns.mean() == pytest.approx(face["frame"]["centre"][0], abs=12)
    assert ((maps[0] > 0) | (maps[1] > 0) == (ids > 0)).all()
    assert not read_ids_of(output / "face_maps/empty.tif").any()
    capsys.readouterr()
    assert parse(model, source, tmp_path / "frames", "--face-maps", "--faces", "frame") == 2
    assert "error: --face-maps: of photographs: add --faces find" in capsys.readouterr().err


def read_ids_of(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image)


def test_upside_down_photos_are_turned_by_their_exif_tag(model: Path, tmp_path: Path):
    photo = Image.fromarray(scene(600, 400, WHERE))
    (tmp_path / "in").mkdir()
    photo.save(tmp_path / "in/upright.png")
    tag = Image.Exif()
    tag[0x0112] = 3
    photo.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "in/turned.png", exif=tag)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--faces", "find") == 0
    rows = found(tmp_path / "out")
    assert len(rows["upright"]["faces"]) == 1
    assert rows["turned"]["faces"] == rows["upright"]["faces"]
    assert np.array_equal(read_ids(tmp_path / "out/turned.png"), read_ids(tmp_path / "out/upright.png"))


@pytest.mark.slow
def test_a_hundred_megapixels(model: Path, tmp_path: Path):
    photo = np.zeros((10_000, 10_000, 3), np.uint8)
    photo[3000:7000, 2000:6000] = scene(4000, 4000, (2000, 2000, 3000, 15))
    source = save(tmp_path / "in", large=photo)
    assert parse(model, source, tmp_path / "out", "--faces", "find") == 0
    (face,) = found(tmp_path / "out")["large"]["faces"]
    assert face["frame"]["centre"] == pytest.approx([4000, 5000], abs=60)
    assert face["frame"]["side"] == pytest.approx(3000, rel=0.04)
    assert face["angle"] == pytest.approx(15, abs=2)
    with Image.open(tmp_path / "out/large.png") as ids:
        assert ids.size == (10_000, 10_000)
