"""EXIF orientations: where they are in a file, and how they turn it."""

import stat
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

from lisa.data import heif
from lisa.labels import LabelSet

UPRIGHT = 1
"""The orientation of a picture that is shown as it is stored."""

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

MIRRORED = (2, 4, 5, 7)
"""Orientations that change the sides."""
SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange width and height."""

UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow and its decoders raise for damaged files. Who catches it leaves ``decode`` to say why."""

_APP1, _START_OF_SCAN = 0xFFE1, 0xFFDA
_PNG_MAY_HOLD_EXIF = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")


def orientation_of(path: Path) -> int:
    """The file's EXIF orientation, 1 to 8; 1 for a file without one and for one that can't be read.

    Files without EXIF data, nearly all of a data set, are told by a walk over their segments: 20 times faster
    than Pillow, which decodes a PNG to see what follows its pixels.
    """
    try:
        with path.open("rb") as file:
            if not _may_hold_exif(file):
                return UPRIGHT
        with open_picture(path) as image:
            found = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except UNREADABLE:
        return UPRIGHT
    return found if found in TURNS else UPRIGHT


def _may_hold_exif(file: BinaryIO) -> bool:
    """False where a JPEG or PNG certainly has no EXIF data."""
    start = file.read(8)
    if start[:3] == b"\xff\xd8\xff":
        file.seek(2)
        while len(head := file.read(4)) == 4:
            marker, length = struct.unpack(">HH", head)
            if marker == _START_OF_SCAN:
                return False
            if marker == _APP1 or not 0xFF00 < marker < 0xFFFF:  # no segment: damaged, or padded
                return True
            file.seek(length - 2, 1)
        return False
    if start == b"\x89PNG\r\n\x1a\n":
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in _PNG_MAY_HOLD_EXIF:
                return True
            file.seek(length + 4, 1)
        return False
    return True


@contextmanager
def open_picture(path: Path) -> Generator[Image.Image]:
    """Opens a picture of any format through a file object, which keeps Pillow from mapping it into memory.

    Pillow 13 maps uncompressed TIFFs of orientations 5 to 8 with width and height exchanged: noise, no error.
    Raises OSError for what may never end: pipes, sockets, devices.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder says what it is
        raise OSError("no file but a pipe, a socket or a device")
    heif.register()
    with path.open("rb") as file, Image.open(file) as picture:
        yield picture


def shown_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """Width and height of an opened picture once its orientation is applied."""
    width, height = image.size
    turned_by_pillow = image.format == "TIFF"
    return (height, width) if orientation in SIDEWAYS and not turned_by_pillow else (width, height)


def turned(mask: Image.Image, orientation: int, labels: LabelSet, swap: bool = False) -> Image.Image:
    """A mask of a set's ids turned as a picture of this orientation is; ``swap`` exchanges left and right."""
    if orientation != UPRIGHT:
        mask = mask.transpose(TURNS[orientation])
    if not swap:
        return mask
    return Image.fromarray(labels.flip_table()[np.asarray(mask)])
