"""Videos from the command line to the files: a painted face that moves, and a tone."""

import importlib.util
import json
import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from deploy_helpers import parse
from scene_helpers import painted_face, scene, write_painted_model

from deploy.predictor.video import media
from deploy.predictor.video.tracking import Tracker

av = pytest.importorskip("av")

FRAMES, RATE = 12, 10


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


def place(number: int) -> tuple[float, float, float, float]:
    """Centre x and y, side and angle of the face in a frame."""
    return 130.0 + 6 * number, 120.0, 120.0 + number, 0.8 * number


def film(path: Path, frames: int = FRAMES, empty: int = 0, sound: bool = True) -> Path:
    """A lossless video of the face, ``empty`` frames without one before it, and a tone of its length."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("ffv1" if path.suffix == ".mkv" else "libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 480, 240, "yuv444p"
        video.options = {} if path.suffix == ".mkv" else {"crf": "0"}
        tone: Any = container.add_stream("aac", rate=8000) if sound else None
        for number in range(empty + frames):
            faces = [place(number - empty)] if number >= empty else []
            frame = av.VideoFrame.from_ndarray(scene(480, 240, *faces), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        if sound:
            count = 8000 * (empty + frames) // RATE
            samples = np.sin(np.arange(count) * 2 * math.pi * 440 / 8000).astype(np.float32)[None]
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            heard.sample_rate, heard.pts = 8000, 0
            container.mux(tone.encode(heard))
            container.mux(tone.encode())
        container.mux(video.encode())
    return path


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
    assert parse(model, broken, tmp_path / "out", "--overlay") == 1
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


class Picture:
    """A decoded frame."""

    pts = duration = 0

    def __init__(self, pixels: np.ndarray, matrix: tuple[int, ...] = ()) -> None:
        self.pixels = pixels
        self.side_data = {"DISPLAYMATRIX": np.array(matrix, np.int32).tobytes()} if matrix else {}

    def to_ndarray(self, format: str, **options: int) -> np.ndarray:
        return self.pixels


def frames_of(
    source: Path, monkeypatch: pytest.MonkeyPatch, *pictures: Picture
) -> tuple[media.Film, list[Any]]:
    """The film, as if it held these."""
    opened = media.Film(source, 10**6)
    packet = type("Packet", (), {"stream": opened.stream, "decode": lambda self: pictures})()
    content = {"duration": 0, "streams": [], "demux": lambda self, streams: iter([packet])}
    container = type("Container", (), content)()
    monkeypatch.setattr(opened, "_container", container)
    return opened, list(opened.frames(lambda packet: None))


@pytest.mark.parametrize(("a", "b", "c", "d"), [
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
    (-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0),
])  # fmt: skip
def test_frames_come_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a: int, b: int, c: int, d: int
) -> None:
    """The four turns, and the same mirrored: what lies at x, y is shown at a x + c y, b x + d y."""
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    source = film(tmp_path / "clip.mkv", frames=1, sound=False)
    matrix = tuple(value << 16 for value in (a, b, 0, c, d, 0, 0, 0, 1 << 14))
    opened, (frame,) = frames_of(source, monkeypatch, Picture(pixels, matrix))
    shown = {(a * x + c * y, b * x + d * y): pixels[y, x].tolist() for y in range(2) for x in range(4)}
    left, top = min(x for x, _ in shown), min(y for _, y in shown)
    height, width = frame.pixels.shape[:2]
    assert (height, width) == ((4, 2) if a == 0 else (2, 4))
    assert opened.turned == (a == 0)
    for y in range(height):
        for x in range(width):
            assert frame.pixels[y, x].tolist() == shown[x + left, y + top]


def test_a_mirrored_file_is_shown_mirrored(tmp_path: Path) -> None:
    """A front camera's, whose display matrix is a reflection: FFmpeg calls it a turn by 180 degrees."""
    path = film(tmp_path / "clip.mp4", frames=1, sound=False)
    before = next(iter(media.Film(path, 10**6).frames(lambda packet: None))).pixels
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 4 + (20 if content[content.index(b"tkhd") + 4] == 0 else 32) + 16
    content[start : start + 20] = np.array([-65536, 0, 0, 0, 65536], ">i4").tobytes()
    path.write_bytes(content)
    after = next(iter(media.Film(path, 10**6).frames(lambda packet: None))).pixels
    assert not np.array_equal(before, before[:, ::-1])
    assert np.array_equal(after, before[:, ::-1])


def test_a_held_frame_cuts_nothing_short(tmp_path: Path) -> None:
    """Screen recordings and slide shows: the last frame is shown for three seconds."""
    path = tmp_path / "held.mp4"
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=RATE, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        packets: list[Any] = []
        for number in range(7):
            frame = av.VideoFrame.from_ndarray(painted_face(64), format="rgb24")
            frame.pts, frame.time_base = 100 * number, Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode()
        packets[-1].duration = 3000
        for packet in packets:
            container.mux(packet)
    opened = media.Film(path, 10**6)
    assert len(list(opened.frames(lambda packet: None))) == 7
    assert opened.end == pytest.approx(3.6)
    assert opened.reason == ""


def test_longer_sound_cuts_nothing_short_and_a_cut_is_seen_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The container's own duration is that of its longest stream; mkvmerge names a stream's DURATION-eng."""
    path = film(tmp_path / "clip.mkv")
    path.write_bytes(path.read_bytes().replace(b"DURATION", b"DURATIOX"))
    opened = media.Film(path, 10**6)
    assert len(list(opened.frames(lambda packet: None))) == FRAMES
    assert (opened.end, opened.reason) == (0, "")
    longer = media.Film(path, 10**6)
    told = longer.container_end + 2.0
    monkeypatch.setattr(longer, "_container", Told(vars(longer)["_container"], told))
    assert len(list(longer.frames(lambda packet: None))) == FRAMES
    assert f"of {told:.2f}" in longer.reason
    longer.stream = SimpleNamespace(duration=None, metadata={"DURATION-eng": "00:01:02.500000000"})
    assert longer.end == 62.5


class Told:
    """A container whose header tells another duration."""

    def __init__(self, container: Any, seconds: float) -> None:
        self.container, self.duration = container, round(1_000_000 * seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.container, name)


@pytest.mark.parametrize(("height", "named", "written"), [(720, 2, 1), (48, 2, 6), (48, 1, 1), (48, 9, 9)])
def test_an_overlay_keeps_colours_and_the_shape_of_pixels(
    tmp_path: Path, height: int, named: int, written: int
) -> None:
    """Players take files that name no matrix for BT.709 from 720 lines on, for BT.601 below."""
    source, target = tmp_path / "clip.mp4", tmp_path / "overlay.mp4"
    color = np.full((height, 64, 3), (199, 58, 38), np.uint8)
    with av.open(str(source), "w") as container:
        video: Any = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, height, "yuv420p"
        video.codec_context.colorspace = named
        video.codec_context.sample_aspect_ratio = Fraction(4, 3)
        frame = av.VideoFrame.from_ndarray(color, format="rgb24")
        scaler = {1: 1, 6: 5, 9: 9}[written]
        frame = frame.reformat(format="yuv420p", dst_colorspace=scaler, dst_color_range=1)
        luma = int(frame.to_ndarray()[10, 10])
        frame.pts = 0
        container.mux(video.encode(frame))
        container.mux(video.encode())
    opened = media.Film(source, 10**6)
    (read,) = opened.frames(lambda packet: None)
    assert abs(read.pixels.astype(int) - color).max() <= 4
    overlay = media.Overlay(target, opened, height, 64)
    overlay.add(color, 0)
    overlay.close()
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (written, 1)
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        (again,) = container.decode(video=0)
        assert abs(int(again.to_ndarray()[10, 10]) - luma) <= 2


def test_times_go_on_and_another_size_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder would resize ids of another size: between 0 and 18 lie labels that were never there."""
    small, large = np.zeros((2, 4, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)
    source = film(tmp_path / "clip.mkv", frames=1, sound=False)
    opened, frames = frames_of(source, monkeypatch, Picture(small), Picture(small), Picture(large))
    assert [frame.time for frame in frames] == [0, 1]
    assert "its frames are 8x4 after" in opened.reason


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
    code = parse(model, path, tmp_path / "out")
    shown = capsys.readouterr().out
    assert len(ids_of(tmp_path / "out" / "spot.ids.mkv")) > FRAMES - 5
    assert code == ("failed:" in shown)


def test_a_broken_file_is_never_done(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = film(tmp_path / "whole.mkv", sound=False).read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        assert parse(model, broken, tmp_path / "out") == 1
        assert "what was readable is written" in capsys.readouterr().out


def test_another_video_of_the_same_name_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        film(tmp_path / folder / "clip.mkv", frames=2, sound=False)
    assert parse(model, tmp_path / "one" / "clip.mkv", tmp_path / "out") == 0
    assert parse(model, tmp_path / "two" / "clip.mkv", tmp_path / "out") == 2
    assert f"clip.ids.mkv is of {tmp_path / 'one' / 'clip.mkv'}" in capsys.readouterr().err
    assert parse(model, tmp_path / "two" / "clip.mkv", tmp_path / "out", "--overwrite") == 0


def test_frames_that_no_face_fills_are_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "clip.mkv", frames=2, sound=False)
    assert parse(model, source, tmp_path / "out", "--faces", "frame") == 0
    assert "2 done as frames look like photographs: --faces find" in capsys.readouterr().out


def test_an_interrupted_video_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.predictor.video.tracking.Tracker.parse", interrupted)
    assert parse(model, film(tmp_path / "clip.mkv", frames=2, sound=False), tmp_path / "out") == 130
    left = [".predict-clip.json", ".predict.json", "report.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == left


def test_a_folder_holds_the_maps_of_many_videos(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [film(tmp_path / name, frames=2, sound=False) for name in ("a.mkv", "b.mkv")]
    for expected in ("2 done, 0 done before", "0 done, 1 done before"):
        for each in films:
            assert parse(model, each, tmp_path / "out") == 0
            shown = capsys.readouterr().out
            assert expected in shown
            assert "anew" not in shown
    (tmp_path / "other").mkdir()
    again = film(tmp_path / "other/a.mkv", frames=2, sound=False)
    assert parse(model, again, tmp_path / "out") == 2
    assert f"a.ids.mkv is of {films[0].resolve()}: choose another --output" in capsys.readouterr().err
