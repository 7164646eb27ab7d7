"""--faces, from the command line to the files: painted photographs and a model that knows colours."""

import io
import json
import tracemalloc
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_helpers import files, parse, read_ids
from PIL import Image
from scene_helpers import found, painted_face, save, scene, write_painted_model

from deploy.predictor.faces.finder import Finder
from deploy.predictor.inputs import Job
from deploy.predictor.outputs import Writer
from deploy.predictor.photos import Parsed
from lisa.labels import NAMES, PALETTE


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


AUTO = ("--faces", "auto")
WHERE = (300.0, 200.0, 240.0, 20.0)


@pytest.mark.parametrize("grey", [0, 2, 255])
def test_a_covered_lens_shows_no_face(model: Path, tmp_path: Path, grey: int):
    """A network has labels for a square of nothing too."""
    flat = np.full((200, 200, 3), grey, np.uint8)
    flat[::7, ::3] = np.clip(flat[::7, ::3].astype(int) + 3, 0, 255)
    source = save(tmp_path / "in", flat=flat, dot=flat[:1, :1])
    assert parse(model, source, tmp_path / "out", *AUTO) == 0
    for name in ("flat", "dot"):
        assert found(tmp_path / "out")[name]["faces"] == []
        assert not found(tmp_path / "out")[name].get("aligned")
        assert not read_ids(tmp_path / f"out/{name}.png").any()


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
    assert "1 face in 2 photographs, none in 1 of them; 1 taken as aligned faces" in capsys.readouterr().out
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


def test_fit_beside_found_faces_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It changed nothing, but that large pictures failed for the square that they would be padded to."""
    source = save(tmp_path / "in", photo=scene(600, 400, WHERE))
    (tmp_path / "boxes.csv").write_text("photo.png,200,100,400,300")
    for faces in ("find", str(tmp_path / "boxes.csv")):
        assert parse(model, source, tmp_path / "out", "--fit", "pad", "--faces", faces) == 2
        assert f"error: --fit pad is for frames, and --faces {faces} takes none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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


def test_pages_of_face_maps_are_made_one_at_a_time(tmp_path: Path):
    """Sixteen faces of 100 megapixels would hold 1.6 GB."""
    options = {
        "output": tmp_path,
        "parts": "",
        "cutout": "",
        "fit": "stretch",
        "finds": "find",
        "labels": "own",
    }
    flags = {"face_maps": True, "gallery": False, "overlay": False, "color": False, "probabilities": False}
    writer = Writer({"labels": list(NAMES), "palette": list(PALETTE)}, Namespace(**options, **flags))
    labels = np.zeros((2000, 2000), np.uint8)
    parsed = Parsed(labels, faces=[], apart=[(0, 0, np.full((9, 9), 1, np.uint8))] * 16)
    contents = writer.contents(Job(tmp_path / "a.jpg", "a"), labels[..., None].repeat(3, 2), parsed)
    tracemalloc.start()
    try:
        pages = next(contents)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * labels.size
    with Image.open(io.BytesIO(pages)) as file:
        assert getattr(file, "n_frames", 1) == 16
