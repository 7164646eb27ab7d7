"""Which mask files are read, as what, and which are refused."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from encoding_helpers import FACE_PARSING, encoding, inverse_table
from PIL import Image

from lisa.data.mask_formats import MaskError, StoredMask, read_stored, to_ours
from lisa.data.synthetic import draw_face
from lisa.labels import PALETTE, read_label_set

THEIRS = encoding(FACE_PARSING)
COLORS = np.array(PALETTE, np.uint8).reshape(-1, 3)


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return draw_face(0, 64)[1]


def with_palette(ids: np.ndarray, colors: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(colors.astype(np.uint8).ravel().tolist())
    return image


def optimised(ids: np.ndarray, colors: np.ndarray) -> Image.Image:
    """As a PNG optimiser leaves it: the palette by popularity, without unused entries."""
    used, counts = np.unique(ids, return_counts=True)
    order = used[np.argsort(-counts)]
    table = np.zeros(256, np.uint8)
    table[order] = np.arange(len(order))
    return with_palette(table[ids], colors[order])


def greys(factor: int) -> np.ndarray:
    return np.repeat(np.arange(19) * factor, 3).reshape(-1, 3)


READ: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "grey": Image.fromarray,
    "palette of the labels": lambda ids: with_palette(ids, COLORS),
    "palette renumbered": lambda ids: optimised(ids, COLORS),
    "greys renumbered": lambda ids: optimised(ids, greys(1)),
    "visible greys": lambda ids: with_palette(ids, greys(13)),
    "another palette": lambda ids: with_palette(ids, np.random.default_rng(0).integers(0, 2, (256, 3)) * 128),
    "16 bits": lambda ids: Image.fromarray(ids.astype(np.uint16)),
    "three equal channels": lambda ids: Image.fromarray(np.stack([ids] * 3, -1)),
    "the labels' colours": lambda ids: Image.fromarray(COLORS[ids]),
    "the labels' colours and alpha": lambda ids: Image.fromarray(COLORS[ids]).convert("RGBA"),
    "grey and alpha": lambda ids: Image.fromarray(np.stack([ids, np.full_like(ids, 255)], -1)),
    "grey and transparent background": lambda ids: Image.fromarray(
        np.stack([ids, (ids > 0) * np.uint8(255)], -1)
    ),
    "ids and alpha": lambda ids: Image.fromarray(np.stack([ids] * 3 + [np.full_like(ids, 255)], -1)),
}


@pytest.mark.parametrize(
    ("name", "option", "read"),
    [
        ("coarse", "coarse,1=skin,3=ignore,4=ignore", [0, 1, 13, 255, 255, 18]),
        ("lapa", "lapa,0=background,1=skin", [0, 1, 7, 6, 5, 4, 2, 11, 10, 12, 13]),
    ],
)
def test_masks_of_another_built_in_set_are_not_read_by_the_colours_that_both_have(
    name: str, option: str, read: list[int], tmp_path: Path
):
    """coarse's facial parts have the colour of our mouth, lapa's background hides our neck."""
    theirs = read_label_set(name)
    own = np.arange(len(theirs), dtype=np.uint8).repeat(8).reshape(-1, 8)
    with_palette(own, np.array(theirs.palette, np.uint8).reshape(-1, 3)).save(tmp_path / "x.png")
    told = f"the order {name}: train with --labels {name}, or read them as celebamask by --data.encoding "
    with pytest.raises(MaskError, match=f"{told}{option}$"):
        read_stored(tmp_path / "x.png")
    each = encoding(option)
    assert to_ours(read_stored(tmp_path / "x.png", each), each)[:, 0].tolist() == read


@pytest.mark.parametrize("kind", READ)
def test_ids_are_read_whatever_carries_them(ids: np.ndarray, kind: str, tmp_path: Path):
    READ[kind](ids).save(tmp_path / "x.png")
    stored = read_stored(tmp_path / "x.png")
    assert np.array_equal(to_ours(stored), ids)
    assert stored.by_color == (kind.endswith("renumbered") or kind.startswith("the labels' colours"))


def test_the_predictors_maps_in_another_order_are_read_with_and_without_its_name(
    ids: np.ndarray, tmp_path: Path
):
    """Their palette has the colours of their order's names, so that index and colour agree."""
    by_name = COLORS[np.argsort(inverse_table(THEIRS)[:19])]
    with_palette(inverse_table(THEIRS)[ids], by_name).save(tmp_path / "x.png")
    for each in (THEIRS, encoding("")):
        assert np.array_equal(to_ours(read_stored(tmp_path / "x.png", each), each), ids)


def test_a_label_order_is_for_ids_and_forbids_colours(ids: np.ndarray, tmp_path: Path):
    """It would be left unheard, and with it the left and right that it exchanges."""
    Image.fromarray(COLORS[ids]).save(tmp_path / "x.png")
    assert read_stored(tmp_path / "x.png").by_color
    for text in (FACE_PARSING, "celebamask-hq,18=ignore"):
        with pytest.raises(MaskError, match=r"leave out .*, or save the ids as 8-bit grey"):
            read_stored(tmp_path / "x.png", encoding(text))


def test_a_label_order_is_for_indices_and_forbids_renumbered_palettes(ids: np.ndarray, tmp_path: Path):
    theirs = inverse_table(THEIRS)[ids]
    with_palette(theirs, COLORS).save(tmp_path / "plain.png")
    assert np.array_equal(to_ours(read_stored(tmp_path / "plain.png", THEIRS), THEIRS), ids)
    optimised(theirs, COLORS).save(tmp_path / "optimised.png")
    with pytest.raises(MaskError, match="without a palette"):
        read_stored(tmp_path / "optimised.png", THEIRS)


def test_a_palette_that_shares_pure_colours_by_chance_is_read_by_index(tmp_path: Path):
    """Black, red and yellow are r_ear and u_lip of CelebAMask-HQ, and anybody's first three colours."""
    few = np.array([[0, 1, 2]] * 4, np.uint8)
    with_palette(few, np.array([[0, 0, 0], [255, 0, 0], [255, 255, 0]])).save(tmp_path / "x.png")
    assert np.array_equal(read_stored(tmp_path / "x.png").ids, few)


def test_one_bit_is_black_and_white(ids: np.ndarray, tmp_path: Path):
    Image.fromarray(ids > 0).save(tmp_path / "x.png")
    assert np.unique(read_stored(tmp_path / "x.png").ids).tolist() == [0, 255]


def save_jpeg(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(ids).save(path, "JPEG", quality=100)


def save_webp(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(COLORS[ids]).save(path, "WEBP")


def save_as(format: str) -> Callable[[np.ndarray, Path], None]:
    return lambda ids, path: Image.fromarray(COLORS[ids]).save(path, format)


def save_jpeg_in_tiff(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(ids).save(path, "TIFF", compression="jpeg")


def write_png(path: Path, rows: np.ndarray, width: int, bits: int, color: int) -> None:
    """A PNG of packed rows of bytes, (H, ...), as Pillow reads but does not write it."""
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def save_16_bit_rgb(ids: np.ndarray, path: Path) -> None:
    """Pillow reads it, as the high bytes."""
    write_png(path, np.stack([ids] * 3, -1).astype(">u2"), ids.shape[1], 16, 2)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_read_as_the_file_holds_it(bits: int, ids: np.ndarray, tmp_path: Path):
    """Pillow stretches it to 255."""
    few = ids % 2**bits
    shifts = np.arange(8 - bits, -1, -bits)
    packed = (few.reshape(len(few), -1, len(shifts)) << shifts).sum(-1).astype(np.uint8)
    write_png(tmp_path / "x.png", packed, few.shape[1], bits, 0)
    assert np.array_equal(read_stored(tmp_path / "x.png").ids, few)
    assert to_ours(read_stored(tmp_path / "x.png")).dtype == np.uint8


def save_bgr(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(np.ascontiguousarray(COLORS[ids][..., ::-1])).save(path)


def save_smooth_colors(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(COLORS[ids]).resize((50, 50), Image.Resampling.BILINEAR).save(path)


def save_one_foreign_color(ids: np.ndarray, path: Path) -> None:
    colors = COLORS[ids]
    colors[:8] = 255
    Image.fromarray(colors).save(path)


def save_foreign_colors(ids: np.ndarray, path: Path) -> None:
    Image.fromarray((COLORS[ids] // 3 + 40 * (ids > 0)[..., None]).astype(np.uint8)).save(path)


def save_web_palette(ids: np.ndarray, path: Path) -> None:
    Image.fromarray(COLORS[ids]).convert("P").save(path)


@pytest.mark.parametrize(
    ("save", "kind", "words"),
    [
        (save_jpeg, "lossy", "JPEG inside.*export the labels again as PNG"),
        (save_webp, "lossy", "WEBP"),
        (save_as("AVIF"), "lossy", "AVIF"),
        (save_as("JPEG2000"), "lossy", "JPEG2000"),
        (save_as("MPO"), "lossy", "JPEG inside"),
        (save_jpeg_in_tiff, "lossy", "TIFF"),
        (save_16_bit_rgb, "ids", "16 bits a channel"),
        (save_bgr, "colours", "red and blue exchanged"),
        (save_smooth_colors, "colours", "smooth resize"),
        (
            save_one_foreign_color,
            "colours",
            r"12\.5% .* no label's colour, but \(255, 255, 255\): save .* with 255 for what is to be ignored",
        ),
        (save_foreign_colors, "colours", "save the ids as 8-bit grey"),
        (save_web_palette, "colours", "without a palette"),
    ],
)
def test_what_is_no_label_map_is_refused_with_the_way(
    ids: np.ndarray, save: Callable[[np.ndarray, Path], None], kind: str, words: str, tmp_path: Path
):
    save(ids, tmp_path / "x.png")
    with pytest.raises(MaskError, match=words) as caught:
        read_stored(tmp_path / "x.png")
    assert caught.value.kind == kind


def test_ids_that_are_no_class_are_named():
    with pytest.raises(MaskError, match=r"ids 19, 254 are out of range"):
        to_ours(StoredMask(np.array([[0, 19, 254, 255]], np.uint8)))
    with pytest.raises(MaskError, match=r"ids -1, 300 are out of range"):
        to_ours(StoredMask(np.array([[0, 300, -1]], np.int32)))
    with pytest.raises(MaskError, match="have no label in the encoding background,skin"):
        to_ours(StoredMask(np.array([[0, 2]], np.uint8)), encoding("background,skin"))
    with pytest.raises(MaskError, match="grey picture"):
        to_ours(StoredMask(np.arange(256, dtype=np.uint8)[None]))


def test_ids_of_another_order_become_ours(ids: np.ndarray):
    assert np.array_equal(to_ours(StoredMask(inverse_table(THEIRS)[ids]), THEIRS), ids)


def test_a_black_palette_tells_nothing_and_leaves_the_ids(tmp_path: Path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.ravel().tolist())
    image.putpalette([0] * 768)
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_stored(tmp_path / "m.png").ids, ids)
