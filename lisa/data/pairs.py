"""A picture and its mask: how they are read, and why they can't be."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image

from lisa.data.exif import UPRIGHT, open_picture, turned
from lisa.data.heif import no_format
from lisa.data.mask_formats import MaskError, StoredMask, read_stored, to_ours
from lisa.data.pictures import upright_rgb
from lisa.errors import InputError
from lisa.labels.encoding import OWN_IDS, Encoding

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".tga"),
)
"""Files with these endings are taken for pictures, here as in the predictor."""

T = TypeVar("T")

REMEDY = "repair or remove them, then start again"


class PairFault(NamedTuple):
    """Why a pair can't be used."""

    file: Path
    """The file at fault."""
    kind: str
    """One of the doctor's kinds of finding."""
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.detail}"


class PairError(InputError):
    """A pair can't be used."""

    def __init__(self, file: Path, kind: str, detail: str) -> None:
        self.fault = PairFault(file, kind, detail)
        super().__init__(str(self.fault))


class Pair(NamedTuple):
    """A picture and its mask."""

    image: Path
    mask: Path
    encoding: Encoding = OWN_IDS
    """Which id in the mask is which label."""
    turn: int = UPRIGHT
    """The EXIF orientation of the picture, if the mask was drawn on its stored pixels: it is turned too."""
    swap: bool = False
    """Whether left and right change places: in a mask that ``turn`` mirrors, or that is repaired."""


def read_image(path: Path) -> Image.Image:
    """The picture as 8-bit RGB, EXIF rotation applied, whatever mode it was stored in."""
    with open_picture(path) as stored:
        return upright_rgb(stored)


class Decoded(NamedTuple):
    """A pair's pixels."""

    image: Image.Image
    """RGB."""
    mask: Image.Image
    """The label set's ids, 8 bits."""


def decode(pair: Pair) -> Decoded:
    """Picture and mask. Raises InputError with the file's name if one can't be read."""
    try:
        return Decoded(_picture(pair), _mask(pair, stored_mask(pair)))
    except PairError as error:  # a loader's worker process can pass on only errors made of one text
        raise InputError(str(error)) from error


def read_mask(pair: Pair) -> Image.Image:
    """The mask alone, as the label set's ids. Raises InputError with the file's name."""
    return _mask(pair, stored_mask(pair))


def fits(mask: tuple[int, int], image: tuple[int, int]) -> bool:
    """Whether a mask's width and height are the picture's, or smaller by a whole factor."""
    factor = image[0] // mask[0]
    return factor >= 1 and image == (factor * mask[0], factor * mask[1])


def stored_mask(pair: Pair) -> StoredMask:
    """The mask's ids as its file holds them. Raises PairError."""
    return _read(pair.mask, lambda: read_stored(pair.mask, pair.encoding))


def _picture(pair: Pair) -> Image.Image:
    return _read(pair.image, lambda: read_image(pair.image))


def _mask(pair: Pair, stored: StoredMask) -> Image.Image:
    def read() -> Image.Image:
        return turned(
            Image.fromarray(to_ours(stored, pair.encoding)), pair.turn, pair.encoding.labels, pair.swap
        )

    return _read(pair.mask, read)


def decode_stored(pair: Pair, stored: StoredMask) -> Decoded:
    """Picture and mask that fit each other, the mask from what its file holds. Raises PairError."""
    image, mask = _picture(pair), _mask(pair, stored)
    if not fits(mask.size, image.size):
        sizes = f"{mask.width}x{mask.height}, its picture is {image.width}x{image.height}"
        raise PairError(pair.mask, "size", f"{sizes}; resize the mask by nearest neighbour")
    return Decoded(image, mask)


def _read(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except MaskError as fault:
        raise PairError(path, fault.kind, str(fault)) from fault
    except Image.UnidentifiedImageError as error:
        raise PairError(path, "unreadable", no_format(path)) from error
    except Exception as error:  # Pillow's decoders say no in a dozen ways
        raise PairError(path, "unreadable", str(error) or type(error).__name__) from error


def fingerprint(pairs: Sequence[Pair]) -> str:
    """A digest of which faces these are and how they are read; not where they lie. Raises InputError."""
    try:
        faces = [(pair.mask.name, pair.mask.stat().st_size, pair.turn, pair.swap) for pair in pairs]
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}") from None
    told = [sorted(pairs[0].encoding.ids.items()), sorted(faces)] if pairs else []
    return hashlib.sha256(repr(told).encode("utf-8", "surrogateescape")).hexdigest()[:16]
