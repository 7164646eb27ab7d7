import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import face, files, parse, read_ids, with_metadata, write_faces
from PIL import Image

from deploy.predictor.errors import BadPictureError
from deploy.predictor.model import FORMAT, check_sha256, read_metadata
from deploy.predictor.outputs import blend
from deploy.predictor.pictures import read_picture
from lisa.data.pictures import upright_rgb
from lisa.labels import PALETTE


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def write_picture_of_every_kind(folder: Path) -> dict[str, tuple[int, int]]:
    """Files by name, and the (height, width) that their label maps must have."""
    rotated = Image.Exif()
    rotated[0x0112] = 6
    wide = face().resize((60, 30))
    grey16 = Image.fromarray(np.asarray(face().convert("L")).astype(np.uint16) * 257)
    contents = {
        "exif.jpg": (encoded(wide, "JPEG", exif=rotated), (60, 30)),
        "cmyk.jpg": (encoded(face().convert("CMYK"), "JPEG"), (64, 64)),
        "grey.png": (encoded(face().convert("L"), "PNG"), (64, 64)),
        "grey16.png": (encoded(grey16, "PNG"), (64, 64)),
        "rgba.png": (encoded(face().convert("RGBA"), "PNG"), (64, 64)),
        "palette.gif": (encoded(face().quantize(64), "GIF"), (64, 64)),
        "animated.gif": (
            encoded(face(), "GIF", save_all=True, append_images=[wide.resize((64, 64))]),
            (64, 64),
        ),
        "bilevel.png": (encoded(face().convert("1"), "PNG"), (64, 64)),
        "webp.webp": (encoded(face(), "WEBP"), (64, 64)),
        "dot.png": (encoded(face().resize((1, 1)), "PNG"), (1, 1)),
        "strip.png": (encoded(face().resize((501, 37)), "PNG"), (37, 501)),
    }
    folder.mkdir()
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return {name: size for name, (_, size) in contents.items()}


def write_broken_files(folder: Path) -> list[str]:
    """Names of files that look like pictures and are none."""
    jpeg = encoded(face(), "JPEG")
    png = encoded(face(), "PNG")
    folder.mkdir(exist_ok=True)
    contents = {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "truncated.png": png[: len(png) // 2],
        "zero.jpg": b"",
        "text.jpg": b"This is a text.",
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(200),
        "chunk.png": png[:40] + b"\xff" * 60 + png[100:],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.png").mkdir()
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    return [*contents, "folder.png", "loop.jpg", "gone.jpg"]


def test_every_kind_of_picture_gives_a_map_of_its_own_size(model: Path, tmp_path: Path) -> None:
    sizes = write_picture_of_every_kind(tmp_path / "in")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    for name, size in sizes.items():
        ids = read_ids(tmp_path / "out" / f"{Path(name).stem}.png")
        assert ids.shape == size, name
        assert ids.max() < 19, name


def test_map_is_what_the_model_says_in_the_label_palette(model: Path, tmp_path: Path) -> None:
    (picture,) = write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    images = torch.from_numpy(read_picture(picture).copy()).permute(2, 0, 1).unsqueeze(0)
    with torch.no_grad():
        expected = torch.jit.load(model)(images)[0].numpy()
    result = tmp_path / "out" / "face0.png"
    assert (read_ids(result) == expected).mean() > 0.9995
    with Image.open(result) as image:
        palette = image.getpalette() or []
    assert tuple(palette[: len(PALETTE)]) == PALETTE


def test_exif_rotation_is_applied_before_the_network(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    (tmp_path / "turned.png").write_bytes(encoded(face(), "PNG", exif=exif))
    assert np.array_equal(read_picture(tmp_path / "turned.png"), np.rot90(np.asarray(face()), -1))


def test_sixteen_bits_and_transparency_are_read_as_training_reads_them(tmp_path: Path) -> None:
    grey = np.asarray(face().convert("L"))
    (tmp_path / "16.png").write_bytes(encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"))
    assert np.array_equal(read_picture(tmp_path / "16.png"), np.dstack([grey] * 3))
    transparent = face().convert("RGBA")
    transparent.putalpha(7)
    (tmp_path / "rgba.png").write_bytes(encoded(transparent, "PNG"))
    assert np.array_equal(read_picture(tmp_path / "rgba.png"), np.asarray(face()))


@pytest.mark.filterwarnings("error")
def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    paletted, path = face().quantize(8), tmp_path / "palette.png"
    path.write_bytes(encoded(paletted, "PNG", transparency=bytes(range(0, 256, 32))))
    shown = np.asarray(paletted.convert("RGB"))
    assert np.array_equal(read_picture(path), shown)
    with Image.open(path) as stored:
        assert isinstance(stored.info["transparency"], bytes)
        assert np.array_equal(np.asarray(upright_rgb(stored)), shown)


def test_bad_pictures_are_named_and_the_rest_is_done(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 3)
    broken = write_broken_files(tmp_path / "in")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["face0.png", "face1.png", "face2.png"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["done"] == 3
    assert {Path(path).name for path in report["failed"]} == set(broken)
    assert all(reason and "\n" not in reason for reason in report["failed"].values())
    shown = capsys.readouterr().out
    assert all(name in shown for name in broken)
    assert "Traceback" not in shown


def test_too_large_a_picture_is_refused_from_its_header(tmp_path: Path) -> None:
    Image.new("1", (3000, 2000)).save(tmp_path / "bomb.png")
    with pytest.raises(BadPictureError, match=r"3000x2000 .* --max-pixels 5999999"):
        read_picture(tmp_path / "bomb.png", 5_999_999)
    assert read_picture(tmp_path / "bomb.png", 6_000_000).shape == (2000, 3000, 3)
    os.truncate(tmp_path / "bomb.png", 2**40)  # a scan of more bytes than there is memory
    with pytest.raises(BadPictureError, match=r"3000x2000 .* --max-pixels 5999999"):
        read_picture(tmp_path / "bomb.png", 5_999_999)


def test_subfolders_are_kept_and_equal_stems_get_distinct_outputs(model: Path, tmp_path: Path) -> None:
    for name in ("a/x.jpg", "b/x.jpg", "b/x.png", "b/ünï ☃.jpg"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        face().save(path)
    (tmp_path / "in" / "again").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert parse(model, tmp_path / "in", tmp_path / "in" / "out") == 0
    expected = ["a/x.png", "b/x.jpg.png", "b/x.png.png", "b/ünï ☃.png"]
    assert files(tmp_path / "in" / "out") == expected


def test_overlay_blends_the_classes_and_leaves_the_background(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--overlay") == 0
    assert files(tmp_path / "out") == ["face0.png", "overlay/face0.jpg"]
    picture = np.full((2, 2, 3), 100, np.uint8)
    ids = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8))
    ids.putpalette(PALETTE)
    blended = np.asarray(blend(picture, ids)).astype(int)
    assert blended[0, 0].tolist() == [100, 100, 100]
    assert np.abs(blended[0, 1] - [152, 50, 50]).max() <= 1


def test_second_run_does_what_is_missing_or_changed(model: Path, tmp_path: Path) -> None:
    pictures = write_faces(tmp_path / "in", 3)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    times = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in ("face0.png", "face1.png")}
    (tmp_path / "out" / "face2.png").unlink()
    (tmp_path / "out" / ".predict-tmp-killed").write_bytes(b"half")
    (tmp_path / "out/deep").mkdir()
    (tmp_path / "out/deep/.predict-tmp-killed").write_bytes(b"half")
    (tmp_path / "out/film").mkdir()
    (tmp_path / "out/film/.predict.json").write_text("{}")
    (tmp_path / "out/film/.predict-tmp-at-work").write_bytes(b"half")  # another run's, which may write on
    os.utime(pictures[1])
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert (tmp_path / "out" / "face0.png").stat().st_mtime_ns == times["face0.png"]
    assert (tmp_path / "out" / "face1.png").stat().st_mtime_ns > times["face1.png"]
    assert not (tmp_path / "out" / ".predict-tmp-killed").exists()
    assert not (tmp_path / "out/deep/.predict-tmp-killed").exists()
    assert (tmp_path / "out/film/.predict-tmp-at-work").exists()
    shutil.rmtree(tmp_path / "out/film")
    assert files(tmp_path / "out") == ["face0.png", "face1.png", "face2.png"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["done"], report["skipped"]) == (2, 1)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--overwrite") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["done"] == 3


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    """The one line that a run that could not start printed."""
    assert code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_models_that_are_not_ours_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    newer = {**read_metadata(model), "format": FORMAT + 1}
    truncated = tmp_path / "truncated.ts"
    truncated.write_bytes(model.read_bytes()[:100_000])
    text = tmp_path / "text.ts"
    pt2 = with_metadata(model, tmp_path / "lisa.pt2", read_metadata(model))
    with zipfile.ZipFile(pt2, "a") as archive:
        archive.writestr("archive/archive_format", "pt2")
    text.write_text("no model")
    cases = {
        with_metadata(model, tmp_path / "foreign.ts", None): "not made by deploy.export",
        with_metadata(model, tmp_path / "newer.ts", newer): "model format",
        pt2: "is a .pt2, for torch.export.load: give the .ts or .onnx file",
        truncated: "damaged",
        text: "damaged",
        tmp_path / "missing.ts": "No such file",
    }
    for path, reason in cases.items():
        assert reason in refused(capsys, parse(path, tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_damaged_code_inside_the_model_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    damaged = tmp_path / "damaged.ts"
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"nonsense" if name.endswith("parser.py") else source.read(name))
    with zipfile.ZipFile(damaged) as archive:
        assert any(archive.read(name) == b"nonsense" for name in archive.namelist())
    assert "can't be loaded" in refused(capsys, parse(damaged, tmp_path / "in", tmp_path / "out"))


def test_pinned_model_must_be_that_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    digest = check_sha256(model, None)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--sha256", digest.upper()) == 0
    capsys.readouterr()
    code = parse(model, tmp_path / "in", tmp_path / "other", "--sha256", "0" * 64)
    assert digest in refused(capsys, code)


def test_folders_that_cannot_serve_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "no pictures" in refused(capsys, parse(model, tmp_path / "empty", tmp_path / "out"))
    assert "No such file" in refused(capsys, parse(model, tmp_path / "nowhere", tmp_path / "out"))
    assert "--output" in refused(capsys, parse(model, tmp_path / "in", tmp_path / "file" / "out"))
    assert "input folder" in refused(capsys, parse(model, tmp_path / "in", tmp_path / "in"))
    assert "--device" in refused(
        capsys, parse(model, tmp_path / "in", tmp_path / "out", "--device", "cuda:99")
    )
    assert "--device" in refused(
        capsys, parse(model, tmp_path / "in", tmp_path / "out", "--device", "abacus")
    )


def test_picture_whose_output_cannot_be_written_fails_alone(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 2)
    (tmp_path / "out" / "face0.png").mkdir(parents=True)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["face1.png"]
