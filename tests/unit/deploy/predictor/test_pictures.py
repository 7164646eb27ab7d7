"""Samples of every depth become the 8 bits that a viewer would show."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deploy_helpers import face
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from deploy.predictor.errors import BadPictureError
from deploy.predictor.pictures import eight_bits, read_picture
from lisa.data.pictures import upright_rgb

GREY = np.asarray(face().convert("L"))


@pytest.mark.parametrize(
    ("samples", "suffix"),
    [
        (GREY.astype(np.int32), "tif"),  # 8 bits in 32
        (GREY.astype(np.int32) * 257, "tif"),
        (GREY.astype(np.int32) * 65_536, "tif"),
        (GREY.astype(np.uint16), "png"),  # 8 bits in 16
        (GREY.astype(np.uint16) * 4, "png"),
        (GREY.astype(np.uint16) * 16, "png"),
        (GREY.astype(np.uint16) * 64, "png"),
        (GREY.astype(np.uint16) * 257, "png"),
        (GREY.astype(np.uint16) * 16, "tif"),
        (GREY.astype(np.float32) / 255, "tif"),
        (GREY.astype(np.float32), "tif"),
        (GREY.astype(np.float32) * 257, "tif"),
        (GREY.astype(np.float32) / 255 * 5e6, "tif"),
        (GREY.astype(np.float32) / 255 / 5e6, "tif"),
        (GREY.astype(np.float32) / 127.5 - 1, "tif"),  # -1 to 1
    ],
)
def test_grey_of_many_bits_is_the_grey_picture(tmp_path: Path, samples: NDArray[Any], suffix: str) -> None:
    Image.fromarray(samples).save(tmp_path / f"grey.{suffix}")
    pixels = read_picture(tmp_path / f"grey.{suffix}")
    stretched = samples.max() > 65_535 or samples.max() < 0.1
    expected = GREY.astype(float)
    if stretched:  # by its own range
        expected = samples / float(samples.max()) * 255
    assert np.abs(pixels[:, :, 0] - expected).max() <= 1
    assert (pixels == pixels[:, :, :1]).all()


def test_twelve_bits_to_their_full_range() -> None:
    assert eight_bits(np.array([[0, 16, 4095]], np.uint16)).tolist() == [[0, 1, 255]]


def test_numbers_without_a_sign_in_32_bits(tmp_path: Path) -> None:
    """Pillow takes them for signed ones: the brightest would be the darkest."""
    samples = np.linspace(0, 2**32 - 1, 64 * 64).reshape(64, 64).astype(np.uint32)
    Image.fromarray(samples.view(np.int32)).save(tmp_path / "x.tif")
    content = bytearray((tmp_path / "x.tif").read_bytes())
    tag = struct.pack("<HHI", 339, 3, 1)
    assert content.count(tag) == 1
    content[content.index(tag) + 8] = 1  # unsigned
    (tmp_path / "x.tif").write_bytes(content)
    assert np.abs(read_picture(tmp_path / "x.tif")[:, :, 0] - samples / 2**32 * 255).max() <= 1


def test_overshoot_and_gaps_in_floating_point() -> None:
    values = eight_bits(np.array([[-0.02, 0.5, 1.04, np.nan, np.inf]], np.float32))
    assert values.tolist() == [[0, 128, 255, 0, 255]]
    with pytest.raises(BadPictureError, match="none of its samples is a number"):
        eight_bits(np.full((2, 2), np.nan, np.float32))
    assert not eight_bits(np.zeros((2, 2), np.float32)).any()


def sixteen_bit_colours(pixels: NDArray[np.uint16]) -> io.BytesIO:
    """A PNG of (H,W,3) samples, which Pillow can't write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + parts)


def test_colours_of_sixteen_bits() -> None:
    colours = np.asarray(face()).astype(np.uint16)
    assert np.array_equal(read_picture(sixteen_bit_colours(colours * 257)), np.asarray(face()))
    for factor in (1, 16):  # Pillow would give nearly black
        with pytest.raises(BadPictureError, match="save it with 8"):
            read_picture(sixteen_bit_colours(colours * factor))


@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("bits", [8, 16])
def test_white_may_be_zero(tmp_path: Path, white: int, bits: int) -> None:
    """Scanners write such TIFFs; Pillow heeds it at 8 bits alone."""
    levels = GREY if white == 1 or bits == 8 else 255 - GREY  # of 8 bits Pillow writes the negative itself
    samples = levels if bits == 8 else levels.astype(np.uint16) * 257
    Image.fromarray(samples).save(tmp_path / "x.tif", tiffinfo={262: white})
    with Image.open(tmp_path / "x.tif") as stored:
        assert isinstance(stored, TiffImageFile)
        assert stored.tag_v2[262] == white
    assert np.abs(read_picture(tmp_path / "x.tif")[:, :, 0].astype(int) - GREY).max() <= 1
    with Image.open(tmp_path / "x.tif") as stored:
        assert np.array_equal(np.asarray(upright_rgb(stored)), read_picture(tmp_path / "x.tif"))


@pytest.mark.parametrize(
    ("tag", "kind", "value"), [(0x0213, 10, struct.pack("<ii", -1, 2)), (0x0128, 8, b"\xff\xff\0\0")]
)
def test_an_odd_tag_beside_the_orientation_costs_nothing(
    tmp_path: Path, tag: int, kind: int, value: bytes
) -> None:
    """Pillow's exif_transpose writes all tags anew, which some can't be."""
    inline = value if len(value) <= 4 else struct.pack("<I", 38)
    entries = {
        0x0112: struct.pack("<HHII", 0x0112, 3, 1, 6),
        tag: struct.pack("<HHI", tag, kind, 1) + inline,
    }
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + b"".join(entries[key] for key in sorted(entries))
    block += bytes(4) + value
    picture = face().crop((0, 0, 40, 64))
    picture.save(tmp_path / "x.jpg", exif=block, quality=95)
    with Image.open(tmp_path / "x.jpg") as stored:
        expected = np.asarray(stored.transpose(Image.Transpose.ROTATE_270).convert("RGB"))
        assert np.array_equal(np.asarray(upright_rgb(stored)), expected)
    assert np.array_equal(read_picture(tmp_path / "x.jpg"), expected)
