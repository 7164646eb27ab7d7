"""Whose files stand in the output folder, and which of them are done."""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_helpers import files, parse, write_faces
from PIL import Image

from deploy.predictor import command
from deploy.predictor.errors import CannotStartError
from deploy.predictor.inputs import VIDEOS_ALONE, find_pictures
from deploy.predictor.outputs import Writer


def test_files_that_no_predictor_made_are_left_alone(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Say, the true masks beside the pictures."""
    write_faces(tmp_path / "images", 2)
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "face1.png").write_bytes(b"drawn by hand")
    for options in ((), ("--overwrite",)):
        assert parse(model, tmp_path / "images", masks, *options) == 2
        assert "face1.png is there, and no predictor made it" in capsys.readouterr().err
    assert [path.name for path in masks.iterdir()] == ["face1.png"]
    assert (masks / "face1.png").read_bytes() == b"drawn by hand"


@pytest.mark.parametrize("name", ["report.json", "gallery.html"])
def test_reports_that_no_predictor_made_are_left_alone(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 2
    assert f"{name} is there, and no predictor made it" in capsys.readouterr().err
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_maps_of_another_picture_of_the_same_name_do_not_count(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cameras repeat their names."""
    for folder in ("b", "a"):  # what was there first is older than any map
        write_faces(tmp_path / folder, 1)
    assert parse(model, tmp_path / "a", tmp_path / "out") == 0
    before = (tmp_path / "out/face0.png").read_bytes()
    assert parse(model, tmp_path / "b", tmp_path / "out") == 2
    assert "was made of another picture than" in capsys.readouterr().err
    assert (tmp_path / "out/face0.png").read_bytes() == before
    assert parse(model, tmp_path / "a", tmp_path / "out") == 0
    assert "0 done, 1 done before" in capsys.readouterr().out
    assert parse(model, tmp_path / "b", tmp_path / "out", "--overwrite") == 0
    assert "1 done, 0 done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("folder", "option"),
    [("color", "--color"), ("cutout", "--cutout=skin"), ("parts/skin", "--parts=skin")],
)
def test_a_map_does_not_pass_as_another_pictures_output(
    folder: str, option: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Say, that of color/a.jpg as the colours of a.jpg."""
    (picture,) = write_faces(tmp_path / "in", 1)
    write_faces(tmp_path / "in" / folder, 1)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    path = tmp_path / "out" / folder / "face0.png"
    before = path.read_bytes()
    assert parse(model, picture, tmp_path / "out", option) == 2
    assert f"{path} is a label map, and {picture} would have another output" in capsys.readouterr().err
    assert path.read_bytes() == before
    for expected in ("1 done, 0 done before", "0 done, 1 done before"):
        assert parse(model, picture, tmp_path / "other", option) == 0
        assert expected in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["a picture of the user's", "a map corrected by hand", "no picture"])
def test_what_came_into_the_folder_since_is_not_lost(
    kind: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    path = tmp_path / "out/face0.png"
    if kind == "a map corrected by hand":
        Image.fromarray(np.asarray(Image.open(path))).save(path)
    elif kind == "no picture":
        path.write_text("mine")
    else:
        Image.new("RGB", (9, 9), "red").save(path)
    mine = path.read_bytes()
    assert parse(model, tmp_path / "in", tmp_path / "out", "--overlay") == 2
    assert "face0.png is there, and no predictor left it so" in capsys.readouterr().err
    assert path.read_bytes() == mine
    assert parse(model, tmp_path / "in", tmp_path / "out", "--overlay", "--overwrite") == 0
    assert path.read_bytes() != mine


def test_one_predictor_writes_into_a_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    output = tmp_path / "out"
    output.mkdir()
    number = os.open(output, os.O_RDONLY)
    fcntl.flock(number, fcntl.LOCK_EX)
    assert parse(model, tmp_path / "in", output) == 2
    assert "another predictor writes there" in capsys.readouterr().err
    assert list(output.iterdir()) == []
    os.close(number)
    assert parse(model, tmp_path / "in", output) == 0


@pytest.mark.parametrize("days", [-400, 400])
def test_a_pictures_own_date_may_be_anything(model: Path, tmp_path: Path, days: int) -> None:
    """What counts is when it came there: cameras' clocks go wrong, copies keep their dates."""
    picture, other = write_faces(tmp_path / "in", 2)
    other.rename(tmp_path / "other.jpg")
    then = time.time() + days * 86400
    os.utime(picture, (then, then))
    time.sleep(0.02)
    done = tmp_path / "out" / "face0.png"
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    first = done.stat().st_mtime_ns
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert done.stat().st_mtime_ns == first
    time.sleep(0.02)
    os.utime(tmp_path / "other.jpg", (then, then))
    (tmp_path / "other.jpg").replace(picture)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert done.stat().st_mtime_ns > first


def test_a_pattern_leaves_the_output_folder_out(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1)
    for _ in range(2):
        assert parse(model, tmp_path / "in" / "**" / "*.jpg", tmp_path / "in" / "parsed", "--overlay") == 0
    assert files(tmp_path / "in" / "parsed") == ["face0.png", "overlay/face0.jpg"]


def test_a_pattern_may_name_a_folder_of_outputs(tmp_path: Path) -> None:
    write_faces(tmp_path / "parsed" / "overlay", 1)
    (job,) = find_pictures(f"{tmp_path}/parsed/overlay/*.jpg", tmp_path / "parsed")
    assert job.name == "face0"


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    write_faces(tmp_path, 1)
    (tmp_path / "list.txt").write_text("face0.jpg\n", encoding="utf-8-sig")
    (job,) = find_pictures(str(tmp_path / "list.txt"), tmp_path / "out")
    assert job.source == tmp_path / "face0.jpg"


def test_a_picture_that_is_replaced_while_it_is_parsed_is_not_done(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (picture,) = write_faces(tmp_path / "in", 1)
    contents = Writer.contents

    def replaced(*arguments: Any) -> Iterator[bytes]:
        picture.write_bytes(picture.read_bytes())
        return contents(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "contents", replaced)
        assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    (reason,) = json.loads((tmp_path / "out/report.json").read_text())["failed"].values()
    assert reason.startswith("was replaced while it was parsed")
    assert files(tmp_path / "out") == []
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["face0.png"]


def test_what_former_settings_left_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 2)
    kinds = ("--overlay", "--parts", "hair,skin", "--gallery")
    assert parse(model, tmp_path / "in", tmp_path / "out", *kinds) == 0
    time.sleep(0.02)
    for options, expected in (
        ((), ""),
        (("--tta", "flip", "--parts", "skin"), "overlay, gallery, gallery.html, parts/hair"),
        (("--tta", "flip"), ""),  # said once
        (("--tta", "none", *kinds), ""),
    ):
        capsys.readouterr()
        assert parse(model, tmp_path / "in", tmp_path / "out", *options) == 0
        told = capsys.readouterr().out
        assert ("not asked for now" in told) == bool(expected), options
        assert expected in told.replace("\n", " ")


def test_a_name_that_is_too_long_costs_its_own_picture(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1)
    for suffix in (".jpg", ".png"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"in/{'x' * 250}{suffix}")  # .jpg.png is beyond 255
    for expected in ([1, 0], [0, 1]):
        assert parse(model, tmp_path / "in", tmp_path / "out") == 1
        report = json.loads((tmp_path / "out/report.json").read_text())
        assert [report["done"], report["skipped"]] == expected
        assert len(report["failed"]) == 2


def test_an_album_with_a_videos_outputs_is_an_album(tmp_path: Path) -> None:
    write_faces(tmp_path / "holiday", 1)
    note = tmp_path / "holiday/.predict.json"
    for content, expected in ((VIDEOS_ALONE, 1), (b'{"fit": "pad"}', 0)):
        note.write_bytes(content)
        write_faces(tmp_path / "other", 1)
        for pattern in (str(tmp_path), f"{tmp_path}/*/*.jpg", f"{tmp_path}/**/*.jpg"):
            names = [job.source.parent.name for job in find_pictures(pattern, tmp_path / "out")]
            assert names.count("holiday") == expected, pattern


def test_what_cannot_start_changes_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The note says since when outputs count: a network that does not load must not write it."""

    def broken(*arguments: object) -> None:
        raise CannotStartError("lisa.ts: can't be loaded")

    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    with monkeypatch.context() as patch:
        patch.setattr("deploy.predictor.command.open_model", broken)
        for options in (("--tta", "flip"), ("--overwrite",)):
            capsys.readouterr()
            assert parse(model, tmp_path / "in", tmp_path / "out", *options) == 2
            assert capsys.readouterr().out == ""
        assert parse(model, tmp_path / "in", tmp_path / "new/deep") == 2
    assert not (tmp_path / "new").exists()
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert "0 done, 1 done before" in capsys.readouterr().out


def test_a_report_that_cannot_be_written_leaves_no_former_one(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for this run's."""
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    write = command.write_whole

    def full(path: Path, content: bytes) -> None:
        if path.name == "report.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, content)

    monkeypatch.setattr(command, "write_whole", full)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert "failed: report.json: not written: No space left on device" in capsys.readouterr().out
    assert not (tmp_path / "out/report.json").exists()


def test_a_run_that_is_killed_leaves_no_former_report(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would speak of other pictures. A page that this run does not write stays."""
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 0
    write_faces(tmp_path / "in", 2)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_drive", killed)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 130
    assert not (tmp_path / "out/report.json").exists()
    assert (tmp_path / "out/gallery.html").exists()


@pytest.mark.parametrize("name", ["gallery.html", "overlay/face0.jpg"])
def test_what_lies_beside_videos_outputs_may_be_anybodys(
    name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (tmp_path / "out/.predict.json").write_bytes(VIDEOS_ALONE)
    (tmp_path / "out/report.json").write_text("of a video")
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery", "--overlay") == 2
    assert f"{name} is there, and no predictor made it" in capsys.readouterr().err
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert "done anew" not in capsys.readouterr().out
    assert mine.read_text() == "mine"
