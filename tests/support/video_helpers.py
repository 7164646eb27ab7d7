"""Small videos of a painted face, and a tone."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scene_helpers import scene

av = pytest.importorskip("av")

FRAMES, RATE = 12, 10


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
