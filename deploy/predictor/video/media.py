"""Video files, through PyAV: frames that come upright and with their times, and what is written."""

import importlib.util
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CannotStartError, first_line
from ..pictures import Pixels

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv", ".ogv"),
)
"""An input with such an ending is a video."""

IN_MP4 = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
"""Sound that .mp4 holds as it is; beside any other the overlay is a .mkv."""

MISSING = 0.5
"""A file that ends more than so many seconds before its own header says was cut short."""


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

    def __init__(self, path: Path) -> None:
        if importlib.util.find_spec("av") is None:
            raise CannotStartError(f"--input {path}: videos need PyAV: pip install av")
        import av
        import av.error

        self.path = path
        self.reason = ""
        """Why the frames ended early; empty if they didn't."""
        try:
            self._container: Any = av.open(str(path))
        except (OSError, av.error.FFmpegError) as error:
            raise CannotStartError(f"--input {path}: {error.strerror or first_line(error)}") from None
        if not self._container.streams.video:
            raise CannotStartError(f"--input {path}: holds no video")
        self.stream = self._container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = self._container.streams.audio[0] if self._container.streams.audio else None
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 1000)
        self.rate: Fraction = self.stream.average_rate or Fraction(25)

    @property
    def seconds(self) -> float:
        """Its length by its own header; 0 if that is silent."""
        return float(self._container.duration or 0) / 1_000_000

    def frames(self, hear: Callable[[Any], None]) -> Iterator[Frame]:
        """All frames that can be read; packets of sound go to ``hear`` as they come."""
        import av.error

        end, heard, step = 0.0, 0.0, float(1 / self.rate)
        wanted = [each for each in (self.stream, self.sound) if each is not None]
        try:
            for packet in self._container.demux(wanted):
                if packet.stream is self.sound:
                    heard = max(heard, float((packet.pts or 0) * packet.time_base))
                    hear(packet)
                    continue
                for picture in packet.decode():
                    pixels = np.rot90(picture.to_ndarray(format="rgb24"), picture.rotation // 90)
                    time = picture.pts if picture.pts is not None else round(end / self.time_base)
                    seconds = float(time * self.time_base)
                    end = seconds + step
                    yield Frame(np.ascontiguousarray(pixels), time, seconds)
        except (OSError, av.error.FFmpegError) as error:
            self.reason = f"damaged after {end:.2f} s ({error.strerror or first_line(error)})"
            return
        length = max(end, heard) - float((self.stream.start_time or 0) * self.time_base)
        if length < self.seconds - MISSING:
            self.reason = f"ends after {length:.2f} s of {self.seconds:.2f}"

    def close(self) -> None:
        """Frees the file."""
        self._container.close()


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
