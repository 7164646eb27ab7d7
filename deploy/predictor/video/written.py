"""Video files to write, through PyAV: label maps, and the overlay with the film's own sound."""

from pathlib import Path
from typing import Any

import numpy as np

from ..pictures import Pixels
from .clock import Clock
from .media import SCALERS, Film, plain_name

IN_MP4 = {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"}
"""Sound that .mp4 holds as it is; beside any other the overlay is a .mkv."""

LIMITED = 1
"""Luma from 16 to 235, as nearly all videos have it."""


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
        self._file.color_as(film)
        self._matrix = film.matrix
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._sound = self._file.copy_of(film.sound) if film.sound is not None else None
        self._clock: Clock | None = None

    @staticmethod
    def suffix(film: Film) -> str:
        """Of the file's name."""
        fits = film.sound is None or film.sound.codec_context.name.removesuffix("float") in IN_MP4
        return ".mp4" if fits else ".mkv"

    def add(self, pixels: Pixels, time: int) -> None:
        """(H,W,3) RGB."""
        self._file.add(np.pad(pixels, self._padding, mode="edge"), "rgb24", time, matrix=self._matrix)

    def hear(self, packet: Any) -> None:
        """A packet of the film's sound."""
        if packet.dts is not None:  # else the end's empty one
            self._clock = self._clock or Clock(packet.time_base)
            self._file.copy(packet, self._sound, self._clock)

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

        self._container: Any = av.open(plain_name(path), "w", format=container)
        self._stream: Any = self._container.add_stream(codec, rate=film.rate, options=options or {})
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = pixel_format
        self._stream.codec_context.time_base = film.time_base
        aspect = film.stream.sample_aspect_ratio
        if aspect:  # pixels that are no squares
            self._stream.codec_context.sample_aspect_ratio = 1 / aspect if film.turned else aspect
        self._time_base = film.time_base

    def color_as(self, film: Film) -> None:
        """Colours are written as the film has them, and named: players guess what a file does not name."""
        codec, theirs = self._stream.codec_context, film.stream.codec_context
        codec.colorspace, codec.color_range = film.matrix, LIMITED
        codec.color_primaries, codec.color_trc = theirs.color_primaries, theirs.color_trc

    def copy_of(self, stream: Any) -> Any:
        """A second stream for packets of this one."""
        return self._container.add_stream_from_template(stream)

    def add(self, pixels: Pixels, pixel_format: str, time: int, matrix: int | None = None) -> None:
        import av

        frame = av.VideoFrame.from_ndarray(pixels, format=pixel_format)
        if matrix is not None:
            frame = frame.reformat(
                format=self._stream.pix_fmt, dst_colorspace=SCALERS[matrix], dst_color_range=LIMITED
            )
        frame.pts, frame.time_base = time, self._time_base
        self._container.mux(self._stream.encode(frame))

    def copy(self, packet: Any, stream: Any, clock: Clock) -> None:
        time = clock(packet.dts, packet.duration or 1)
        if packet.pts is not None:
            packet.pts = max(packet.pts + time - packet.dts, time)
        packet.dts, packet.stream = time, stream
        self._container.mux(packet)

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()
