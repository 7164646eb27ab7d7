"""Pictures as 8-bit RGB, upright, by the same rules as in the predictor (deploy/predictor/pictures.py)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lisa.data.exif import TURNS

SAMPLE_FORMAT = 339
"""TIFF's tag: 1 for numbers without a sign, 2 with one, 3 for floating point."""
PHOTOMETRIC = 262
"""TIFF's tag: 0 where white is 0. Pillow heeds it up to 8 bits."""


def upright_rgb(stored: Image.Image) -> Image.Image:
    """Returns the picture as 8-bit RGB, turned upright by its EXIF tag, without transparency.

    Grey of more than 8 bits is scaled by :func:`eight_bits`. Raises ValueError for a picture without numbers,
    and for colours of 16 bits that would be nearly black: Pillow keeps their upper 8 bits alone.
    """
    halved, unsigned, negative = _keeps_upper_bits(stored), _is_unsigned(stored), _is_negative(stored)
    image = upright(stored)
    if _is_deep(image):
        samples = np.asarray(image)
        if unsigned and samples.dtype == np.int32:
            samples = samples.view(np.uint32)
        levels = eight_bits(samples)
        image = Image.fromarray(255 - levels if negative else levels)
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):  # else Pillow warns
        image = image.convert("RGBA")
    image = image.convert("RGB")
    if halved and np.asarray(image).max(initial=0) < 16:
        raise ValueError("16-bit colours that fill 12 bits or fewer, of which Pillow keeps the upper 8")
    return image


def upright(stored: Image.Image) -> Image.Image:
    """Turned by its EXIF tag. Pillow's own exif_transpose writes all tags anew, and fails at an odd one."""
    stored.load()  # turns TIFFs by itself
    turn = TURNS.get(stored.getexif().get(ExifTags.Base.Orientation, 1))
    return stored if turn is None else stored.transpose(turn)


def _is_negative(image: Image.Image) -> bool:
    """Whether white is 0 in a TIFF of 16 bits."""
    deep = image.mode.startswith("I;16")
    return deep and isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == 0


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "F" or image.mode.startswith("I")


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF's 32 bits have no sign: Pillow reads them as if they had one."""
    return isinstance(image, TiffImageFile) and image.tag_v2.get(SAMPLE_FORMAT, (1,)) in (1, (1,))


def _keeps_upper_bits(image: Image.Image) -> bool:
    """Whether Pillow will decode 16 bits a colour, of which it keeps 8."""
    tiles: list[Any] = getattr(image, "tile", []) if isinstance(image, ImageFile.ImageFile) else []
    return not _is_deep(image) and any(";16" in str(tile[3]) for tile in tiles)


def eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Scales (H,W) samples of any range to 0..255; the samples say what is white.

    Integers up to 255 stay as they are. Larger ones fill the first of 10, 12, 14 and 16 bits that holds them
    all. In floating point white is 1, 255 or 65535 if the largest comes near it, and black is 0, or as far
    below it. Everything else is scaled by its own range: black is 0, or the smallest number where some are
    negative, and white is the largest. Raises ValueError if no sample is a number.
    """
    finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
    if not finite.size:
        raise ValueError("none of its samples is a number")
    low, high = float(finite.min()), float(finite.max())
    if samples.dtype.kind == "f":
        near = [white for white in (1, 255, 65535) if white / 8 < high <= 1.1 * white]  # resizing overshoots
        black, white = 0.0, float(near[0] if near else high)
        if low < -0.1 * white:  # -1 to 1, or whatever it is
            black = -white if near and low >= -1.1 * white else low
    elif low >= 0 and high <= 65535:
        bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        if bits < 16:
            return (samples >> (bits - 8)).astype(np.uint8)
        black, white = 0.0, 65535.0
    else:
        black, white = min(0.0, low), high
    scale = 255 / (white - black) if white > black else 0.0
    values = np.nan_to_num(samples.astype(np.float32), nan=black, posinf=white, neginf=black)
    return ((values - black) * np.float32(scale)).round().clip(0, 255).astype(np.uint8)
