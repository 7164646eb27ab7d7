"""Folders of faces: layouts, bad files, odd pictures, the order of an epoch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from face_helpers import save_mask
from PIL import Image

from lisa.data.checking import check_pairs
from lisa.data.faces import FaceDataset, nearest
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair, PairFault, read_image
from lisa.errors import InputError


def check(root: Path) -> None:
    check_pairs(find_pairs(root, "train"))


def test_every_kind_of_bad_file_is_named(make_faces: Callable[..., Path]):
    root = make_faces(train=6)
    images, masks = root / "train/images", root / "train/masks"
    Image.effect_noise((40, 40), 50).convert("RGB").save(images / "0.jpg")
    (images / "0.png").unlink()
    (images / "0.jpg").write_bytes((images / "0.jpg").read_bytes()[:400])
    (images / "1.png").write_bytes(b"")
    save_mask(np.full((40, 40), 19), masks / "2.png")
    save_mask(np.zeros((20, 40)), masks / "3.png")
    Image.new("RGB", (40, 40), (1, 2, 3)).save(masks / "4.png")
    with pytest.raises(InputError) as caught:
        check(root)
    message = str(caught.value)
    assert message.startswith("5 of 6 pairs can't be used")
    assert "0.jpg: " in message
    assert "1.png: no picture format that Pillow reads" in message
    assert "2.png: ids 19 are out of range" in message
    assert "3.png: 40x20, its picture is 40x40" in message
    assert "4.png: 100.0% of its pixels have no label's colour, but (1, 2, 3): save the ids" in message


def test_long_lists_are_cut_at_twenty(make_faces: Callable[..., Path]):
    root = make_faces(train=25)
    for mask in (root / "train/masks").iterdir():
        mask.write_bytes(b"text")
    with pytest.raises(InputError, match=r"and 5 more \(25 in all\)"):
        check(root)


def with_a_bad_neighbour(look: Callable[[], Any]) -> list[Any]:
    looks, counts = own = look()
    fault = PairFault(Path("elsewhere"), "unreadable", "bad")
    return [own, ([looks[0]._replace(fault=fault)], np.zeros_like(counts))]


def test_faults_of_other_ranks_are_raised_here_too(make_faces: Callable[..., Path]):
    pairs = find_pairs(make_faces(), "train")
    with pytest.raises(InputError, match="elsewhere: bad"):
        check_pairs(pairs, with_a_bad_neighbour, 0, 2)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "I;16", "1", "LA"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path):
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    grey = np.linspace(0, 255, 64, dtype=np.uint8).reshape(8, 8)
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(grey).convert("RGB").convert(mode).save(path)
    picture = read_image(path)
    assert picture.mode == "RGB"
    if mode in ("L", "RGBA", "I;16", "LA"):
        assert np.abs(np.asarray(picture)[..., 0].astype(int) - grey).max() <= 3


def test_exif_rotation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.new("RGB", (10, 20)).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").size == (20, 10)


def test_ids_survive_resizing_and_255_passes(tmp_path: Path):
    ids = np.random.default_rng(0).choice([0, 18, 255], (37, 51))
    save_mask(ids, tmp_path / "m.png")
    Image.new("RGB", (51, 37)).save(tmp_path / "i.png")
    pair = Pair(tmp_path / "i.png", tmp_path / "m.png")
    face = FaceDataset([pair], size=64)[0]
    assert face.image.shape == (3, 64, 64)
    assert face.image.dtype == face.mask.dtype == torch.uint8
    assert set(face.mask.unique().tolist()) == {0, 18, 255}
    assert FaceDataset([pair], size=None)[0].mask.shape == (37, 51)


@pytest.mark.parametrize(
    ("length", "size"), [(8, 4), (512, 96), (512, 128), (12, 2), (20, 8), (9, 3), (4, 8)]
)
def test_masks_are_not_shifted_against_their_pictures(length: int, size: int):
    """Each pixel of a small mask takes an id near its centre, and on average at it."""
    places = (torch.arange(length) + 0.5).expand(length, length)
    centres = (torch.arange(size) + 0.5) * length / size
    taken = torch.stack([nearest(places, size, size, number)[0] for number in range(4)])
    assert (taken - centres).abs().max() <= 0.5
    assert (taken - centres).mean().abs() < 1e-3 * length / size
    for number in range(4):
        assert torch.equal(nearest(places.T, size, size, number)[:, 0], taken[number // 2])


def test_four_faces_take_all_four_pixels_that_are_as_near():
    square = torch.arange(4).view(2, 2)
    assert sorted(nearest(square, 1, 1, number).item() for number in range(4)) == [0, 1, 2, 3]
