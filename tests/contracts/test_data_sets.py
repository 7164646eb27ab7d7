"""The contract that both folder layouts keep: pairs by stem, in order, or one line that names the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from face_helpers import save_mask
from PIL import Image

from lisa.data.faces import FaceDataset
from lisa.data.folders import find_pairs
from lisa.errors import InputError

STEMS = ("10", "2", "a.b")


class LayoutContract:
    """``images`` and ``masks`` are where the split "train" lies below a root."""

    images = ""
    masks = ""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """Three pictures in three formats, whose masks hold their own number."""
        for folder in (self.images, self.masks):
            (tmp_path / folder).mkdir(parents=True)
        for number, (stem, suffix) in enumerate(zip(STEMS, (".jpg", ".png", ".webp"), strict=True)):
            Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / self.images / f"{stem}{suffix}")
            save_mask(np.full((6, 8), number + 1), tmp_path / self.masks / f"{stem}.png")
        return tmp_path

    def test_pairs_have_one_stem_and_are_sorted(self, root: Path):
        pairs = find_pairs(root, "train")
        assert [pair.image.stem for pair in pairs] == sorted(STEMS)
        for pair in pairs:
            assert pair.image.parent == root / self.images
            assert pair.mask == root / self.masks / f"{pair.image.stem}.png"

    def test_a_face_is_uint8_with_its_ids(self, root: Path):
        dataset = FaceDataset(find_pairs(root, "train"), None)
        for number, face in enumerate(dataset[index] for index in range(len(dataset))):
            assert (face.image.dtype, face.image.shape) == (torch.uint8, (3, 6, 8))
            assert (face.mask.dtype, face.mask.shape) == (torch.uint8, (6, 8))
            assert face.mask.unique().tolist() == [number + 1]
            assert face.number == number
        assert FaceDataset(dataset.pairs, 16)[0].image.shape == (3, 16, 16)

    def test_files_without_a_partner_are_named(self, root: Path):
        (root / self.masks / "2.png").unlink()
        (root / self.images / "10.jpg").unlink()
        with pytest.raises(InputError) as refused:
            find_pairs(root, "train")
        assert f"{root / self.images / '2.png'}: no mask" in str(refused.value)
        assert f"{root / self.masks / '10.png'}: no picture of this stem" in str(refused.value)

    def test_two_pictures_of_one_stem_are_named(self, root: Path):
        Image.new("RGB", (8, 6)).save(root / self.images / "2.jpg")
        with pytest.raises(InputError, match=r"2\.png: second file of this stem"):
            find_pairs(root, "train")

    def test_excluded_files_are_left_out(self, root: Path):
        (root / "exclude.txt").write_text(f"{self.images}/2.png\n{self.masks}/10.png\n")
        found = find_pairs(root, "train", exclude=root / "exclude.txt")
        assert [pair.image.stem for pair in found] == ["a.b"]

    def test_an_empty_split_and_a_missing_one(self, root: Path):
        with pytest.raises(InputError, match="no split 'val' here"):
            find_pairs(root, "val")
        for folder in (self.images, self.masks):
            for path in (root / folder).iterdir():
                path.unlink()
        with pytest.raises(InputError, match="no pictures"):
            find_pairs(root, "train")


class TestFoldersInSplits(LayoutContract):
    images, masks = "train/images", "train/masks"


class TestSplitsInNames(LayoutContract):
    images, masks = "train_image", "train_mask"
