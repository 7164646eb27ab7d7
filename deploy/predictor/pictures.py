"""Pictures: decoded and upright, in the network's frame, encoded again."""

import io
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .errors import BadPictureError

Pixels = NDArray[np.uint8]
"""(H,W,3) RGB, or (H,W) class ids."""

MAX_PIXELS = 100_000_000


def read_picture(source: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> Pixels:
    """(H,W,3) uint8 RGB, upright by EXIF; the first frame of an animation. Raises BadPictureError."""
    try:
        with Image.open(source) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadPictureError(f"{width}x{height} is more than --max-pixels {max_pixels}")
            picture.seek(0)
            return np.asarray(_as_rgb(ImageOps.exif_transpose(picture)))
    except BadPictureError:
        raise
    except Image.UnidentifiedImageError:
        raise BadPictureError("no picture format that Pillow reads here") from None
    except OSError as error:
        raise BadPictureError(error.strerror or str(error)) from None
    except MemoryError:
        raise BadPictureError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise what they like on damaged files: SyntaxError, struct.error...
        raise BadPictureError(f"damaged ({type(error).__name__}: {error})") from None


def _as_rgb(picture: Image.Image) -> Image.Image:
    """As training reads pictures: 16 bits to 8, transparency dropped."""
    if picture.mode.startswith("I"):  # convert("RGB") would clip 16 bits
        samples = np.asarray(picture).clip(0, 65535) / 257
        picture = Image.fromarray(samples.round().astype(np.uint8))
    if picture.mode == "F":
        raise BadPictureError("floating-point samples: their range is unknown")
    return picture.convert("RGB")


def to_frame(picture: Pixels, fit: str) -> Pixels:
    """What of the picture the network sees, which stretches it to its own square.

    stretch: all of it. pad: all of it in a grey square. crop: the square in its middle.
    """
    height, width = picture.shape[:2]
    if fit == "crop":
        return np.ascontiguousarray(picture[middle(picture.shape, min(height, width))])
    if fit == "pad":
        side = max(height, width)
        frame = np.full((side, side, 3), 127, np.uint8)
        frame[middle(frame.shape, height, width)] = picture
        return frame
    return picture


def from_frame(labels: Pixels, shape: tuple[int, ...], fit: str) -> Pixels:
    """The label map of the whole picture of ``shape``; around a crop everything is background."""
    if fit == "crop":
        whole = np.zeros(shape[:2], np.uint8)
        whole[middle(shape, *labels.shape)] = labels
        return whole
    if fit == "pad":
        return labels[middle(labels.shape, *shape[:2])]
    return labels


def middle(shape: tuple[int, ...], height: int, width: int | None = None) -> tuple[slice, slice]:
    """A height x width window in the middle of an array."""
    width = height if width is None else width
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


def encode_picture(picture: Image.Image, **options: Any) -> bytes:
    """The picture as a file, by Pillow's options."""
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()
