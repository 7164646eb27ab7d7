"""Pictures: decoded and upright, in the network's frame, encoded again."""

import contextlib
import importlib.util
import io
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.Image import Transpose
from PIL.TiffImagePlugin import AppendingTiffWriter, TiffImageFile

from .errors import BadPictureError

READS_HEIF = importlib.util.find_spec("pillow_heif") is not None
if READS_HEIF:
    from pillow_heif import register_heif_opener

    register_heif_opener()

HEIF = (".heic", ".heif")
"""Pictures as phones write them: Pillow reads them where pillow-heif is installed."""

Pixels = NDArray[np.uint8]
"""(H,W,3) RGB, or (H,W) class ids."""

MAX_PIXELS = 100_000_000

SAMPLE_FORMAT = 339
"""TIFF's tag: 1 for numbers without a sign, 2 with one, 3 for floating point."""
PHOTOMETRIC = 262
"""TIFF's tag: 0 where white is 0. Pillow heeds it up to 8 bits."""


TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""How stored pixels become those that are shown, by orientation (EXIF 2.3, tag 0x0112)."""


def read_picture(source: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> Pixels:
    """(H,W,3) uint8 RGB, upright by EXIF; the first frame of an animation. Raises BadPictureError."""
    try:
        if isinstance(source, Path):
            _refuse_pipes(source)
        # Not by its path: Pillow 13 maps uncompressed TIFFs of orientations 5 to 8 with sides exchanged.
        with _opened(source) as file, Image.open(file) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadPictureError(f"{width}x{height} is more than --max-pixels {max_pixels}")
            picture.seek(0)
            halved, unsigned = _keeps_upper_bits(picture), _is_unsigned(picture)
            negative = _is_negative(picture)
            pixels = np.asarray(_as_rgb(_upright(picture), unsigned, negative))
        if halved and pixels.max() < 16:
            raise BadPictureError(
                "16-bit colours that fill 12 bits or fewer, of which Pillow keeps the upper 8: save it with 8"
            )
        return pixels
    except BadPictureError:
        raise
    except Image.UnidentifiedImageError:
        if isinstance(source, Path) and source.suffix.lower() in HEIF and not READS_HEIF:
            raise BadPictureError("HEIC needs pillow-heif: pip install pillow-heif") from None
        raise BadPictureError("no picture format that Pillow reads here") from None
    except OSError as error:
        raise BadPictureError(error.strerror or str(error)) from None
    except MemoryError:
        raise BadPictureError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise what they like on damaged files: SyntaxError, struct.error...
        raise BadPictureError(f"damaged ({type(error).__name__}: {error})") from None


def _opened(source: Path | BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    """To read what is needed of it: a scan of many GB is refused by its first lines."""
    return source.open("rb") if isinstance(source, Path) else contextlib.nullcontext(source)


def _refuse_pipes(path: Path) -> None:
    """Raises BadPictureError for what may never end: pipes, sockets, devices."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder says what it is
        raise BadPictureError("no file but a pipe, a socket or a device")


def _upright(picture: Image.Image) -> Image.Image:
    """Turned by its EXIF tag. Pillow's own exif_transpose writes all tags anew, and fails at an odd one."""
    picture.load()  # turns TIFFs by itself
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _as_rgb(picture: Image.Image, unsigned: bool, negative: bool) -> Image.Image:
    """Drops transparency; grey of more than 8 bits goes through :func:`eight_bits`. Pillow would clip it."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        samples = np.asarray(picture)
        if unsigned and samples.dtype == np.int32:
            samples = samples.view(np.uint32)
        levels = eight_bits(samples)
        picture = Image.fromarray(255 - levels if negative else levels)
    if picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes):  # else Pillow warns
        picture = picture.convert("RGBA")
    return picture.convert("RGB")


def _is_unsigned(picture: Image.Image) -> bool:
    """Whether a TIFF's 32 bits have no sign: Pillow reads them as if they had one."""
    return isinstance(picture, TiffImageFile) and picture.tag_v2.get(SAMPLE_FORMAT, (1,)) in (1, (1,))


def _is_negative(picture: Image.Image) -> bool:
    """Whether white is 0 in a TIFF of 16 bits."""
    deep = picture.mode.startswith("I;16")
    return deep and isinstance(picture, TiffImageFile) and picture.tag_v2.get(PHOTOMETRIC) == 0


def _keeps_upper_bits(picture: Image.Image) -> bool:
    """Whether Pillow decodes 16 bits a colour, of which it keeps 8."""
    grey = picture.mode == "F" or picture.mode.startswith("I")
    return (
        not grey
        and isinstance(picture, ImageFile.ImageFile)
        and any(";16" in str(tile[3]) for tile in picture.tile)
    )


def eight_bits(samples: NDArray[Any]) -> Pixels:
    """(H,W) samples of any range as 0..255; the samples say what is white.

    Integers up to 255 stay as they are. Larger ones fill the first of 10, 12, 14 and 16 bits that holds them
    all. In floating point white is 1, 255 or 65535 if the picture comes near it; black is 0, or as far below
    it. Everything else is scaled by its own range: black is 0, or the smallest number where some are
    negative, and white is the largest. Raises BadPictureError if no sample is a number.
    """
    finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
    if not finite.size:
        raise BadPictureError("none of its samples is a number")
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


def to_frame(picture: Pixels, fit: str) -> Pixels:
    """The part (h,w,3) of a picture (H,W,3) given to the network, which resizes it to size x size.

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
    """A frame's labels (h,w) as the map (H,W) of the whole picture, whose ``shape`` begins with H, W.

    Around a crop everything is background.
    """
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


def encode_pages(pages: Iterable[Image.Image]) -> bytes:
    """The pages as one TIFF. They are taken one by one: Pillow's append_images would hold all of them."""
    stream = io.BytesIO()
    with AppendingTiffWriter(stream) as writer:
        for page in pages:
            page.save(writer, format="TIFF", compression="tiff_adobe_deflate")
            writer.newFrame()
    return stream.getvalue()
