"""Pictures with an EXIF orientation: whichever way their masks were drawn, both reach training together."""

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from face_helpers import save_mask
from PIL import Image, ImageOps

from lisa.data import parallel
from lisa.data.cache import open_faces
from lisa.data.checking import check_pairs
from lisa.data.doctor.doctor import diagnose
from lisa.data.doctor.examination import reversed_parts
from lisa.data.exif import MIRRORED, SIDEWAYS, TURNS, UPRIGHT, orientation_of
from lisa.data.faces import FaceDataset
from lisa.data.folders import find_pairs
from lisa.data.orientation import settle_orientations
from lisa.data.pairs import Pair, decode, read_image
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.evaluation.evaluate import require_room
from lisa.labels.celebamask import CELEBAMASK
from lisa.world import World

SIZE = 96
STORED_FROM_SHOWN = {**TURNS, 6: TURNS[8], 8: TURNS[6]}
"""The inverse of each orientation."""


def face(seed: int, width: int = SIZE) -> tuple[Image.Image, Image.Image]:
    """A drawn face, its middle columns."""
    picture, ids = draw_face(seed, SIZE)
    left = (SIZE - width) // 2
    return tuple(Image.fromarray(pixels[:, left : left + width]) for pixels in (picture, ids))  # type: ignore[return-value]


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def write(
    root: Path,
    picture: Image.Image,
    mask: Image.Image,
    orientation: int,
    name: str = "0",
    suffix: str = ".png",
) -> None:
    """Stores a pair whose picture is stored as given, under an orientation."""
    for kind in ("images", "masks"):
        (root / "train" / kind).mkdir(parents=True, exist_ok=True)
    picture.save(root / "train/images" / f"{name}{suffix}", exif=tagged(orientation))
    save_mask(np.asarray(mask), root / "train/masks" / f"{name}.png")


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("width", [SIZE, 72])
@pytest.mark.parametrize("drawn", ["on stored pixels", "as shown"])
def test_the_mask_lies_on_its_picture(tmp_path: Path, orientation: int, width: int, drawn: str):
    """One pair alone, square and not."""
    picture, mask = face(3, width)
    inverse = STORED_FROM_SHOWN[orientation]
    stored_mask = mask.transpose(inverse) if drawn == "on stored pixels" else mask
    write(tmp_path, picture.transpose(inverse), stored_mask, orientation)
    (pair,) = find_pairs(tmp_path, "train")
    read = decode(pair)
    assert np.array_equal(np.asarray(read.image), np.asarray(picture))
    assert np.array_equal(np.asarray(read.mask), np.asarray(mask))
    assert pair.turn == (orientation if drawn == "on stored pixels" else UPRIGHT)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_upright_face_under_an_orientation_turns_with_its_mask(tmp_path: Path, orientation: int):
    """As a tool leaves it that turned the pixels and kept the tag; left and right stay the person's."""
    picture, mask = face(3)
    write(tmp_path, picture, mask, orientation)
    (pair,) = find_pairs(tmp_path, "train")
    read = decode(pair)
    expected = np.asarray(mask.transpose(TURNS[orientation]))
    if orientation in MIRRORED:
        expected = CELEBAMASK.flip_table()[expected]
    assert np.array_equal(np.asarray(read.mask), expected)
    assert np.array_equal(np.asarray(read.image), np.asarray(picture.transpose(TURNS[orientation])))
    assert not reversed_parts(np.asarray(mask), CELEBAMASK)
    assert not reversed_parts(np.asarray(read.mask), CELEBAMASK)


def test_one_that_tells_nothing_follows_the_others_or_is_refused(tmp_path: Path):
    flat, mask = Image.new("RGB", (SIZE, SIZE), (90, 90, 90)), face(1)[1]
    write(tmp_path, flat, mask, 3, "flat")
    told = r"1 masks of split 'train': its picture has an EXIF orientation, .*\n.*flat\.png"
    with pytest.raises(InputError, match=told):
        find_pairs(tmp_path, "train")
    (finding,) = diagnose(tmp_path, workers=1).findings
    assert (finding.kind, finding.file.name) == ("orientation", "flat.png")
    assert "EXIF" in finding.detail
    for seed in range(4):
        write(tmp_path, *face(seed), 3, str(seed))
    pairs = find_pairs(tmp_path, "train")
    assert [pair.turn for pair in pairs] == [3] * 5
    checked = check_pairs(pairs)
    assert any("5 of 5 masks were drawn on stored pixels: EXIF turns" in note for note in checked.notes)


def test_a_mixed_set_is_decided_picture_by_picture(tmp_path: Path):
    for seed in range(3):
        write(tmp_path, *face(seed), 3, f"stored{seed}")
        picture, mask = face(seed + 3)
        write(tmp_path, picture.rotate(180), mask, 3, f"shown{seed}")
    assert {pair.image.stem[:-1]: pair.turn for pair in find_pairs(tmp_path, "train")} == {
        "stored": 3,
        "shown": UPRIGHT,
    }
    write(tmp_path, Image.new("RGB", (SIZE, SIZE)), face(1)[1], 3, "flat")
    with pytest.raises(InputError, match=r"1 masks of .*EXIF"):
        find_pairs(tmp_path, "train")


def test_sizes_count_more_than_edges(tmp_path: Path):
    """Two landscapes of orientation 6 whose sizes say stored, and a flat square that follows them."""
    for seed in range(2):
        picture, mask = face(seed, 72)
        write(tmp_path, picture.rotate(90, expand=True), mask.rotate(90, expand=True), 6, str(seed))
    write(tmp_path, Image.new("RGB", (SIZE, SIZE)), face(1)[1], 6, "flat")
    assert [pair.turn for pair in find_pairs(tmp_path, "train")] == [6, 6, 6]


def test_a_mask_with_an_orientation_of_its_own(tmp_path: Path):
    """A tool that copied the picture's EXIF data to the mask, beside a picture turned for good."""
    picture, mask = face(2)
    write(tmp_path, picture, mask, UPRIGHT)
    path = tmp_path / "train/masks/0.png"
    for stored, turn in ((mask, UPRIGHT), (mask.rotate(90), 6)):
        stored.save(path, exif=tagged(6))
        (pair,) = find_pairs(tmp_path, "train")
        assert pair.turn == turn
        assert np.array_equal(np.asarray(decode(pair).mask), np.asarray(mask))


def test_cached_faces_are_turned_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parallel, "available_cores", lambda: 1)
    picture, mask = face(2)
    write(tmp_path, picture.rotate(90), mask.rotate(90), 6)
    pairs = find_pairs(tmp_path, "train")
    decoded = FaceDataset(pairs, 48)[0]
    upright = mask.resize((48, 48), Image.Resampling.NEAREST)
    assert torch.equal(decoded.mask, torch.from_numpy(np.array(upright)))
    for wanted in (pairs, [pairs[0]._replace(turn=UPRIGHT)]):  # the second as an older cache has it
        cached = open_faces(wanted, 48, str(tmp_path / "cache"))[0]
        assert torch.equal(cached.mask, FaceDataset(wanted, 48)[0].mask)
        assert torch.equal(cached.image, decoded.image)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_found_in_every_format(tmp_path: Path, suffix: str, orientation: int):
    picture, mask = face(5, 64)
    inverse = picture.transpose(STORED_FROM_SHOWN[orientation]) if orientation > 1 else picture
    write(tmp_path, inverse, mask, orientation, suffix=suffix)
    path = tmp_path / f"train/images/0{suffix}"
    assert orientation_of(path) == orientation
    assert read_image(path).size == picture.size
    if orientation in SIDEWAYS:
        (pair,) = find_pairs(tmp_path, "train")
        assert pair.turn == UPRIGHT


def test_exif_data_where_few_look_for_it(tmp_path: Path):
    """Behind a PNG's pixels, in a JPEG's XMP, nowhere, and in what is no picture."""
    path = tmp_path / "late.png"
    face(0)[0].save(path)
    chunk = b"eXIf" + tagged(6).tobytes().removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + late + content[-12:])
    assert orientation_of(path) == 6
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(path))), np.asarray(read_image(path)))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="8"/></x:xmpmeta>'
    face(0)[0].save(tmp_path / "xmp.jpg", xmp=xmp)
    assert orientation_of(tmp_path / "xmp.jpg") == 8
    face(0)[0].save(tmp_path / "plain.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "xmp.jpg").read_bytes()[:30])
    (tmp_path / "odd.jpg").write_bytes(b"\xff\xd8\xff\xff\xff\xff\xff\xff\xff")
    face(0)[0].save(tmp_path / "nine.jpg", exif=tagged(9))
    for name in ("plain.jpg", "cut.jpg", "odd.jpg", "nine.jpg", "absent.jpg"):
        assert orientation_of(tmp_path / name) == UPRIGHT


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_damaged_files_are_left_to_whoever_decodes_them(kind: str, tmp_path: Path):
    """Pillow raises a dozen classes of errors for them; one that is not expected would end the run."""
    stream = io.BytesIO()
    Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(stream, kind, exif=tagged(6))
    path, draw = tmp_path / "damaged", random.Random(kind)
    pair = Pair(path, path)
    for _ in range(60):
        content = bytearray(stream.getvalue())
        for _ in range(draw.choice((1, 2, 5, 20))):
            content[min(len(content) - 1, int(draw.expovariate(1 / 120)))] = draw.choice((0, 255, 42))
        path.write_bytes(content[: draw.choice((len(content), draw.randrange(len(content))))])
        assert 1 <= orientation_of(path) <= 8
        settled = settle_orientations([pair])
        assert len(settled.pairs) + len(settled.undecided) == 1
        require_room([pair], 1, World())
