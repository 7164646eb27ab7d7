"""Videos from the command line to the files: a painted face that moves, and a tone."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deploy_helpers import parse
from scene_helpers import painted_face, write_painted_model
from video_helpers import FRAMES, RATE, film, place

from deploy.predictor.video.tracking import Tracker

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


def ids_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def sound_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0)]


def test_a_face_is_followed_and_the_sound_is_kept(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = film(tmp_path / "clip.mp4"), tmp_path / "out"
    assert parse(model, source, output, "--faces", "find", "--overlay") == 0
    names = [
        ".predict-clip.json",
        ".predict.json",
        "clip.faces.json",
        "clip.ids.mkv",
        "clip.overlay.mp4",
        "report.json",
    ]
    assert sorted(path.name for path in output.iterdir()) == names
    rows = json.loads((output / "clip.faces.json").read_text())
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    for number, row in enumerate(rows):
        (face,) = row["faces"]
        x, y, side, angle = place(number)
        assert face["track"] == 1
        assert row["seconds"] == pytest.approx(number / RATE)
        assert face["frame"]["centre"] == pytest.approx([x, y], abs=8)
        assert face["frame"]["side"] == pytest.approx(side, rel=0.08)
        assert face["angle"] == pytest.approx(angle, abs=4)
    maps = ids_of(output / "clip.ids.mkv")
    assert len(maps) == FRAMES
    assert {each.shape for each in maps} == {(240, 480)}
    for row, ids in zip(rows, maps, strict=True):  # lossless: the very ids
        assert row["faces"][0]["pixels"]["skin"] == int((ids == 1).sum())
    assert json.loads((output / "report.json").read_text())["faces"] == FRAMES
    with av.open(str(output / "clip.overlay.mp4")) as overlay:
        assert len(list(overlay.decode(video=0))) == FRAMES
    assert sound_of(output / "clip.overlay.mp4") == sound_of(source) != []
    capsys.readouterr()
    assert parse(model, source, output, "--faces", "find", "--overlay") == 0
    assert "0 done, 1 done before" in capsys.readouterr().out


def test_a_face_that_comes_later_is_found(model: Path, tmp_path: Path) -> None:
    source = film(tmp_path / "late.mkv", frames=4, empty=3, sound=False)
    assert parse(model, source, tmp_path / "out", "--faces", "find") == 0
    rows = json.loads((tmp_path / "out" / "late.faces.json").read_text())
    found = [len(row["faces"]) for row in rows]
    assert found == [0] * 5 + [1] * 2  # searched in each fifth frame


def test_faces_that_fill_the_frame_and_steady_is_an_average(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "flicker.mkv"
    pictures = [painted_face(64), np.zeros((64, 64, 3), np.uint8), painted_face(64)]
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    frame = ("--faces", "frame")
    assert parse(model, path, tmp_path / "plain", *frame) == 0
    assert parse(model, path, tmp_path / "steady", *frame, "--steady", "0.9") == 0
    plain, steady = (ids_of(tmp_path / name / "flicker.ids.mkv") for name in ("plain", "steady"))
    assert not plain[1].any()
    assert np.array_equal(steady[0], plain[0])
    assert (steady[1] == plain[0]).mean() > 0.9
    assert not (tmp_path / "plain" / "flicker.faces.json").exists()


def test_a_film_that_begins_black_is_judged_by_what_it_shows(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "fade.mkv"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
        for picture in (np.zeros((64, 64, 3), np.uint8), painted_face(64), painted_face(64)):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    assert parse(model, path, tmp_path / "out", "--faces", "auto") == 0
    assert parse(model, path, tmp_path / "frame", "--faces", "frame") == 0
    black, *shown = ids_of(tmp_path / "out" / "fade.ids.mkv")
    assert not black.any()
    assert np.array_equal(shown, ids_of(tmp_path / "frame" / "fade.ids.mkv")[1:])


def test_an_explosion_does_not_stay_in_the_average() -> None:
    tracker = Tracker.__new__(Tracker)
    tracker.steady = 0.9
    now = torch.ones(1, 2, 4, 4)
    for before in (torch.full_like(now, float("nan")), torch.full_like(now, 1e9)):
        assert torch.equal(tracker._averaged(before, now), now)  # pyright: ignore[reportPrivateUsage]
    assert torch.allclose(tracker._averaged(3 * now, now), 2.8 * now)  # pyright: ignore[reportPrivateUsage]


def test_a_broken_file_gives_what_is_readable_and_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = 30
    whole = film(tmp_path / "whole.mkv", frames).read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole[: len(whole) // 2])
    assert parse(model, broken, tmp_path / "out", "--overlay", "--faces", "frame") == 1
    shown = capsys.readouterr().out
    assert "what was readable is written" in shown
    assert "s of 3." in shown
    assert 5 < len(ids_of(tmp_path / "out" / "broken.ids.mkv")) < frames


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_one_line(
    model: Path, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert parse(model, path, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --input {path}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "options", [("--gallery",), ("--parts", "hair"), ("--cutout", "hair"), ("--probabilities",), ("--color",)]
)
def test_what_is_for_pictures_is_refused(
    model: Path, tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(model, tmp_path / "clip.mp4", tmp_path / "out", *options) == 2
    assert f"error: {options[0]}: for pictures; videos give" in capsys.readouterr().err


def test_steady_is_for_videos(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(model, tmp_path, tmp_path / "out", "--steady", "0.5") == 2
    assert "error: --steady: for videos" in capsys.readouterr().err


def test_without_pyav_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "av" else find(name))
    assert parse(model, tmp_path / "clip.mp4", tmp_path / "out") == 2
    assert capsys.readouterr().err.endswith("clip.mp4: videos need PyAV: pip install 'av>=17'\n")


def test_a_film_that_begins_late_is_whole(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv444p"
        for number in range(20, 30):
            frame = av.VideoFrame.from_ndarray(painted_face(64), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
    assert parse(model, path, tmp_path / "out") == 0
    with av.open(str(tmp_path / "out" / "late.ids.mkv")) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert times == pytest.approx([number / RATE for number in range(20, 30)], abs=2e-3)


def test_what_is_behind_a_damaged_spot_is_parsed_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = film(tmp_path / "spot.mkv", frames=FRAMES, sound=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = bytes((37 * index) % 256 for index in range(300))
    path.write_bytes(content)
    code = parse(model, path, tmp_path / "out", "--faces", "frame")
    shown = capsys.readouterr().out
    assert len(ids_of(tmp_path / "out" / "spot.ids.mkv")) > FRAMES - 5
    assert code == ("failed:" in shown)


@pytest.mark.slow
def test_a_broken_file_is_never_done(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = film(tmp_path / "whole.mkv", sound=False).read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert parse(model, broken, tmp_path / "out") == 1
        assert "what was readable is written" in capsys.readouterr().out


def test_frames_that_no_face_fills_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "clip.mkv", frames=2, sound=False)
    assert parse(model, source, tmp_path / "out", "--faces", "frame") == 0
    assert "2 done as frames look like photographs: --faces find" in capsys.readouterr().out
