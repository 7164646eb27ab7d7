"""Video files, through PyAV: frames that come upright and with their times, and what is written."""

import importlib.util
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CannotStartError, said
from ..pictures import Pixels

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv", ".ogv"),
)
"""An input with such an ending is a video."""

IN_MP4 = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
"""Sound that .mp4 holds as it is; beside any other the overlay is a .mkv."""

MISSING = 0.5
"""A file that ends more than so many seconds before its own header says was cut short."""

MOST_FRAMES = 0.95
"""So was one of fewer frames than this share of what its header says; some leave out a few on purpose."""

GIVEN_UP = 1000
"""Damaged packets after which no more are tried."""


class Frame(NamedTuple):
    """A picture of a video."""

    pixels: Pixels
    """(H,W,3) RGB, upright."""
    time: int
    """In units of the film's ``time_base``."""
    seconds: float


def is_video(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in SUFFIXES


class Film:
    """A video to read, once. Raises CannotStartError if PyAV is missing, or opens no video there."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        if importlib.util.find_spec("av") is None:
            raise CannotStartError(f"--input {path}: videos need PyAV: pip install av")
        import av

        self.path, self.max_pixels = path, max_pixels
        self.reason = ""
        """What is missing of the frames; empty if nothing is."""
        try:
            self._container: Any = av.open(str(path), metadata_errors="replace")
        except media_errors() as error:
            raise CannotStartError(f"--input {path}: {said(error)}") from None
        if not self._container.streams.video:
            raise CannotStartError(f"--input {path}: holds no video")
        self.stream = self._container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = self._container.streams.audio[0] if self._container.streams.audio else None
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 1000)
        self.rate: Fraction = self.stream.average_rate or Fraction(25)

    @property
    def end(self) -> float:
        """The second where it ends by its own header; 0 if that is silent."""
        if self.stream.duration is not None:
            return float(((self.stream.start_time or 0) + self.stream.duration) * self.time_base)
        tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", self.stream.metadata.get("DURATION", ""))  # of .mkv
        if tag is not None:
            return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
        return float(self._container.duration or 0) / 1_000_000

    def frames(self, hear: Callable[[Any], None]) -> Iterator[Frame]:
        """All frames that can be read, of one size; packets of sound go to ``hear`` as they come.

        Raises CannotStartError for frames of more than ``max_pixels``.
        """
        end, last, count, damaged = 0.0, None, 0, 0
        shape: tuple[int, ...] = ()
        wanted = [each for each in (self.stream, self.sound) if each is not None]
        packets = self._container.demux(wanted)
        while True:
            try:
                packet = next(packets, None)
                decoded = [] if packet is None or packet.stream is self.sound else packet.decode()
            except media_errors():
                damaged += 1  # those behind it may be whole
                if damaged > GIVEN_UP:
                    break
                continue
            if packet is None:
                break
            if packet.stream is self.sound:
                hear(packet)
            for picture in decoded:
                turned = np.rot90(picture.to_ndarray(format="rgb24"), picture.rotation // 90)
                pixels = np.ascontiguousarray(turned)
                shape = shape or self._accepted(pixels)
                if pixels.shape != shape:
                    height, width = pixels.shape[:2]
                    self.reason = f"its frames are {width}x{height} after {end:.2f} s"
                    return
                time = picture.pts if picture.pts is not None else round(end / self.time_base)
                last = time if last is None else max(time, last + 1)  # of broken ones some go back
                seconds = float(last * self.time_base)
                end, count = seconds + float(1 / self.rate), count + 1
                yield Frame(pixels, last, seconds)
        if damaged:
            self.reason = f"{damaged} damaged packets, {count} frames in {end:.2f} s"
        elif end < self.end - MISSING:
            self.reason = f"ends after {end:.2f} s of {self.end:.2f}"
        elif count < MOST_FRAMES * self.stream.frames:
            self.reason = f"holds {count} of {self.stream.frames} frames"

    def _accepted(self, pixels: Pixels) -> tuple[int, ...]:
        height, width = pixels.shape[:2]
        if height * width > self.max_pixels:
            raise CannotStartError(f"--input {self.path}: {width}x{height} is more than --max-pixels")
        return pixels.shape

    def close(self) -> None:
        """Frees the file."""
        self._container.close()


def media_errors() -> tuple[type[Exception], ...]:
    """What FFmpeg raises; PyAV is installed."""
    import av.error

    return OSError, av.error.FFmpegError


class Ids:
    """Label maps as a lossless video: FFV1, grey, a pixel's value is its id. Read it with any FFmpeg."""

    def __init__(self, path: Path, film: Film, height: int, width: int) -> None:
        self._file = _Output(path, film, "matroska", "ffv1", "gray", height, width)

    def add(self, ids: Pixels, time: int) -> None:
        """(H,W)."""
        self._file.add(ids, "gray", time)

    def close(self) -> None:
        """Writes what is held back."""
        self._file.close()


class Overlay:
    """H.264 with the film's own sound, copied as it is."""

    def __init__(self, path: Path, film: Film, height: int, width: int) -> None:
        kind = "matroska" if self.suffix(film) == ".mkv" else "mp4"
        even = (height + height % 2, width + width % 2)  # its colours have half the resolution
        self._file = _Output(path, film, kind, "libx264", "yuv420p", *even, options={"crf": "20"})
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._sound = self._file.copy_of(film.sound) if film.sound is not None else None

    @staticmethod
    def suffix(film: Film) -> str:
        """Of the file's name."""
        fits = film.sound is None or film.sound.codec_context.name.removesuffix("float") in IN_MP4
        return ".mp4" if fits else ".mkv"

    def add(self, pixels: Pixels, time: int) -> None:
        """(H,W,3) RGB."""
        self._file.add(np.pad(pixels, self._padding, mode="edge"), "rgb24", time)

    def hear(self, packet: Any) -> None:
        """A packet of the film's sound."""
        if packet.dts is not None:  # else the end's empty one
            self._file.copy(packet, self._sound)

    def close(self) -> None:
        """Writes what is held back."""
        self._file.close()


class _Output:
    """A video file with one stream of pictures, whose frames keep the film's times."""

    def __init__(
        self,
        path: Path,
        film: Film,
        container: str,
        codec: str,
        pixel_format: str,
        height: int,
        width: int,
        options: dict[str, str] | None = None,
    ) -> None:
        import av

        self._container: Any = av.open(str(path), "w", format=container)
        self._stream: Any = self._container.add_stream(codec, rate=film.rate, options=options or {})
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = pixel_format
        self._stream.codec_context.time_base = film.time_base
        self._time_base = film.time_base

    def copy_of(self, stream: Any) -> Any:
        """A second stream for packets of this one."""
        return self._container.add_stream_from_template(stream)

    def add(self, pixels: Pixels, pixel_format: str, time: int) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(pixels, format=pixel_format)
        frame.pts, frame.time_base = time, self._time_base
        self._container.mux(self._stream.encode(frame))

    def copy(self, packet: Any, stream: Any) -> None:
        packet.stream = stream
        self._container.mux(packet)

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()
