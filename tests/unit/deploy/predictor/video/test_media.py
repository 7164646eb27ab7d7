"""Video files: frames upright and complete, overlays in the colours of what they show."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scene_helpers import painted_face
from video_helpers import FRAMES, RATE, film

from deploy.predictor.video import media
from deploy.predictor.video.clock import Clock
from deploy.predictor.video.written import Ids, Overlay

av = pytest.importorskip("av")


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
    overlay = Overlay(target, opened, height, 64)
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


def test_a_joined_recording_goes_on_after_the_one_before() -> None:
    clock = Clock(Fraction(1, 100))
    times = [0, 4, 8, 7, 12, 0, 4, 8, 0, 4]
    assert [clock(time, 4) for time in times] == [0, 4, 8, 9, 12, 13, 14, 15, 16, 17]
    clock = Clock(Fraction(1, 100))
    times = [100, 104, 108, 107, 112, 0, 4, 8, 0, 204, 0, 4]
    expected = [100, 104, 108, 109, 112, 116, 120, 124, 125, 320, 324, 328]
    assert [clock(time, 4) for time in times] == expected
    assert [clock.next(4), clock(12, 4)] == [332, 336]


def test_a_recording_joined_of_two_keeps_its_sound_and_its_times(tmp_path: Path) -> None:
    """As camcorders leave them: the times begin anew in the middle."""
    part, joined = film(tmp_path / "part.ts"), tmp_path / "joined.ts"
    joined.write_bytes(part.read_bytes() * 2)
    opened = media.Film(joined, 10**6)
    overlay = Overlay(tmp_path / "overlay.mp4", opened, 64, 64)
    seconds: list[float] = []
    for frame in opened.frames(overlay.hear):
        overlay.add(np.zeros((64, 64, 3), np.uint8), frame.time)
        seconds.append(frame.seconds)
    overlay.close()
    steps = np.diff(seconds)
    assert len(seconds) == 2 * FRAMES
    assert steps.min() == pytest.approx(1 / RATE, rel=0.1)
    assert steps.max() == pytest.approx(1 / RATE, rel=0.1)
    with av.open(str(part)) as once, av.open(str(tmp_path / "overlay.mp4")) as twice:
        packets = [sum(1 for each in file.demux(audio=0) if each.size) for file in (once, twice)]
    assert packets[1] == 2 * packets[0]


def test_a_file_of_no_frame_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, frames = frames_of(film(tmp_path / "clip.mkv", frames=1, sound=False), monkeypatch)
    monkeypatch.setattr(opened, "stream", SimpleNamespace(duration=None, metadata={}, frames=0))
    assert frames == []
    assert list(opened.frames(lambda packet: None)) == []
    assert opened.reason == "holds no frame"


def test_a_time_of_day_is_a_name_and_a_folder_no_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg would take what stands before the colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "clip.mkv", frames=2, sound=False).rename("12:30:15.mkv")
    opened = media.Film(Path("12:30:15.mkv"), 10**6)
    Path("o:1").mkdir()
    ids = Ids(Path("o:1/ids.mkv"), opened, 64, 64)
    for frame in opened.frames(lambda packet: None):
        ids.add(np.zeros((64, 64), np.uint8), frame.time)
    ids.close()
    assert Path("o:1/ids.mkv").is_file()
    Path("frames.mp4").mkdir()
    assert not media.is_video(Path("frames.mp4"))
    assert media.is_video(Path("film.mp4"))


def test_frames_before_a_cut_are_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut without encoding anew, an .mp4 keeps frames from the last keyframe on, and hides them."""
    source = film(tmp_path / "whole.mp4", sound=False)
    with av.open(str(source)) as whole, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.pts -= round(0.5 / packet.time_base)
                packet.dts -= round(0.5 / packet.time_base)
                packet.stream = stream
                cut.mux(packet)
    opened = media.Film(tmp_path / "cut.mp4", 10**6)
    assert opened.stream.frames == FRAMES
    assert len(list(opened.frames(lambda packet: None))) == FRAMES - RATE // 2
    assert opened.reason == ""
    fewer = SimpleNamespace(duration=10**4, time_base=Fraction(1, 10**4), metadata={}, frames=3 * RATE)
    monkeypatch.setattr(opened, "stream", fewer)
    assert opened.expected_frames == RATE
