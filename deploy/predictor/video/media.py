"""Video files to read, through PyAV: frames that come upright and with their times."""

import importlib.util
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import CannotStartError, said
from ..pictures import Pixels
from .clock import Clock

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp", ".flv", ".ogv"),
)
"""An input with such an ending is a video."""

MISSING = 0.5
"""A file that ends more than so many seconds before its own header says was cut short."""

MOST_FRAMES = 0.95
"""So was one of fewer frames than this share of what its header says; some leave out a few on purpose."""

BT709, BT601, UNNAMED = 1, 6, 2
SCALERS = {BT709: 1, 4: 4, 5: 5, BT601: 5, 7: 7, 9: 9}
"""Matrices of luma and chroma as streams number them, and as swscale does."""

HD = 720
"""Lines from which a file that does not name its matrix is taken for BT.709, as players do."""

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
    """By its name; a folder may be called so too."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


class Film:
    """A video to read, once. Raises CannotStartError if PyAV is missing, or opens no video there."""

    def __init__(self, path: Path, max_pixels: int) -> None:
        if importlib.util.find_spec("av") is None:
            raise CannotStartError(f"--input {path}: videos need PyAV: pip install 'av>=17'")
        import av

        self.path, self.max_pixels = path, max_pixels
        self.reason = ""
        """What is missing of the frames; empty if nothing is."""
        try:
            # Versions from 19 on have no such argument.
            tolerant: dict[str, Any] = (
                {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
            )
            self._container: Any = av.open(plain_name(path), **tolerant)
        except media_errors() as error:
            raise CannotStartError(f"--input {path}: {said(error)}") from None
        if not self._container.streams.video:
            raise CannotStartError(f"--input {path}: holds no video")
        self.stream = self._container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.sound = self._container.streams.audio[0] if self._container.streams.audio else None
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 1000)
        self.rate: Fraction = self.stream.average_rate or Fraction(25)
        self.turned = False
        """Whether the last frame was turned by a quarter; False before the first."""

    @property
    def end(self) -> float:
        """The second where it ends by its own header; 0 if that is silent."""
        if self.stream.duration is not None:
            return float(((self.stream.start_time or 0) + self.stream.duration) * self.time_base)
        for key, value in self.stream.metadata.items():  # .mkv: DURATION, or DURATION-eng
            tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", value) if key.startswith("DURATION") else None
            if tag is not None:
                return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3])
        return 0.0

    @property
    def expected_frames(self) -> int:
        """Frames by its own header, without those before a cut that the container hides."""
        if self.stream.duration is None:
            return self.stream.frames
        return min(self.stream.frames, round(self.stream.duration * self.time_base * self.rate))

    @property
    def container_end(self) -> float:
        """The second where its longest stream ends; 0 if the header is silent, or if some are not read."""
        if len(self._container.streams) > len(self._read):
            return 0.0
        return float(self._container.duration or 0) / 1_000_000

    @property
    def _read(self) -> list[Any]:
        return [each for each in (self.stream, self.sound) if each is not None]

    @property
    def matrix(self) -> int:
        """How colours are luma and chroma, as streams number it; files that don't say go by their height."""
        named = self.stream.codec_context.colorspace
        if named in SCALERS:
            return named
        return BT709 if self.stream.codec_context.height >= HD else BT601

    @property
    def _unnamed(self) -> bool:
        codec = self.stream.codec_context
        return codec.colorspace == UNNAMED and not (codec.format is not None and codec.format.is_rgb)

    def frames(self, hear: Callable[[Any], None]) -> Iterator[Frame]:
        """All frames that can be read, of one size; packets of sound go to ``hear`` as they come.

        Raises CannotStartError for frames of more than ``max_pixels``.
        """
        end, count, damaged, heard = 0.0, 0, 0, 0.0
        clock, step = Clock(self.time_base), max(1, round(1 / (self.rate * self.time_base)))
        shape: tuple[int, ...] = ()
        packets = self._container.demux(self._read)
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
                heard = max(heard, float(((packet.pts or 0) + (packet.duration or 0)) * packet.time_base))
            for picture in decoded:
                pixels = self._upright(picture)
                shape = shape or self._accepted(pixels)
                if pixels.shape != shape:
                    height, width = pixels.shape[:2]
                    self.reason = f"its frames are {width}x{height} after {end:.2f} s"
                    return
                time = clock.next(step) if picture.pts is None else clock(picture.pts, step)
                seconds = float(time * self.time_base)
                shown = (picture.duration or 0) * self.time_base  # the last one may be held
                end, count = seconds + float(max(shown, 1 / self.rate)), count + 1
                yield Frame(pixels, time, seconds)
        if damaged:
            self.reason = f"{damaged} damaged packets, {count} frames in {end:.2f} s"
        elif end < self.end - MISSING:
            self.reason = f"ends after {end:.2f} s of {self.end:.2f}"
        elif not self.end and max(end, heard) < self.container_end - MISSING:
            self.reason = f"ends after {max(end, heard):.2f} s of {self.container_end:.2f}"
        elif count < MOST_FRAMES * self.expected_frames:
            self.reason = f"holds {count} of {self.expected_frames} frames"
        elif not count:
            self.reason = "holds no frame"

    def _upright(self, picture: Any) -> Pixels:
        """(H,W,3): turned and mirrored as the file says, by FFmpeg's display matrix."""
        guess = {"src_colorspace": SCALERS[BT709]} if self._unnamed and self.matrix == BT709 else {}
        pixels = picture.to_ndarray(format="rgb24", **guess)
        stored = picture.side_data.get("DISPLAYMATRIX")
        if stored is None:
            return pixels
        # x' = a x + c y and y' = b x + d y, in 16.16 fixed point, y down.
        a, b, _, c, d = np.frombuffer(bytes(stored), np.int32)[:5].tolist()
        self.turned = abs(b) + abs(c) > abs(a) + abs(d)
        if self.turned:
            pixels, a, d = pixels.transpose(1, 0, 2), c, b
        return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def _accepted(self, pixels: Pixels) -> tuple[int, ...]:
        height, width = pixels.shape[:2]
        if height * width > self.max_pixels:
            raise CannotStartError(f"--input {self.path}: {width}x{height} is more than --max-pixels")
        return pixels.shape

    def close(self) -> None:
        """Frees the file."""
        self._container.close()


def plain_name(path: Path) -> str:
    """A name that FFmpeg takes for a file's, whatever it holds: it reads 12:30.mp4 as of a protocol 12."""
    return f"file:{path}"


def media_errors() -> tuple[type[Exception], ...]:
    """What FFmpeg raises; PyAV is installed."""
    import av.error

    return OSError, av.error.FFmpegError
