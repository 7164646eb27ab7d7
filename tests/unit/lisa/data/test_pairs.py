"""Label orders and exclusion lists of face folders."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from encoding_helpers import FACE_PARSING, encoding, inverse_table
from PIL import Image

from lisa.data.checking import check_pairs
from lisa.data.faces import FaceDataset
from lisa.data.folders import find_pairs
from lisa.data.pairs import decode
from lisa.data.synthetic import write_dataset
from lisa.errors import InputError
from lisa.labels import NAMES


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces") / "ours"
    write_dataset(root, count=30, seed=0, size=64, workers=1)
    return root


@pytest.fixture(scope="module")
def foreign(faces: Path) -> Path:
    """The same faces with masks in face-parsing.PyTorch's order."""
    root = faces.parent / "foreign"
    for pair in find_pairs(faces, "train"):
        for path in pair[:2]:
            copy = root / path.relative_to(faces)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        ids = np.asarray(Image.open(pair.mask))
        Image.fromarray(inverse_table(encoding(FACE_PARSING))[ids]).save(root / pair.mask.relative_to(faces))
    return root


def test_masks_of_another_order_read_as_ours(faces: Path, foreign: Path):
    ours = FaceDataset(find_pairs(faces, "train"), None)
    theirs = FaceDataset(find_pairs(foreign, "train", encoding(FACE_PARSING)), None)
    assert all(bool((a.mask == b.mask).all()) for a, b in zip(ours, theirs, strict=True))  # type: ignore[call-overload]
    check_pairs(theirs.pairs)


def test_the_wrong_order_is_refused_with_a_hint(faces: Path, foreign: Path):
    with pytest.raises(InputError, match=f"--data.encoding {FACE_PARSING}"):
        check_pairs(find_pairs(foreign, "train"))
    with pytest.raises(InputError, match=r"--data.encoding celebamask-hq"):
        check_pairs(find_pairs(faces, "train", encoding(FACE_PARSING)))


def test_ids_without_a_name_are_refused(faces: Path):
    few = ",".join(NAMES[:15])
    (pair, *_) = find_pairs(faces, "train", encoding(few))
    with pytest.raises(InputError, match="have no label in the encoding"):
        decode(pair)


def test_jpeg_masks_are_named_with_the_reason(faces: Path, tmp_path: Path):
    root = Path(shutil.copytree(faces, tmp_path / "jpeg"))
    for mask in (root / "train/masks").iterdir():
        Image.open(mask).convert("L").save(mask.with_suffix(".JPG"))
        mask.unlink()
    with pytest.raises(InputError, match=r"000000\.JPG is there, but its lossy .* export the labels as PNG"):
        find_pairs(root, "train")


def test_excluded_files_are_left_out_even_if_unpaired(faces: Path, tmp_path: Path):
    stray = faces / "train" / "images" / "stray.png"
    Image.new("RGB", (64, 64)).save(stray)
    first, second, *_ = find_pairs(faces, "val")
    exclusions = tmp_path / "exclude.txt"
    lines = [
        "# why",
        "train/images/stray.png",
        *(str(p.relative_to(faces)) for p in (first.image, second.mask)),
    ]
    exclusions.write_text("\n".join(lines) + "\n")
    try:
        with pytest.raises(InputError, match="stray"):
            find_pairs(faces, "train")
        assert len(find_pairs(faces, "train", exclude=exclusions)) == 24
        kept = find_pairs(faces, "val", exclude=exclusions)
        assert len(kept) == 1
        assert not {first, second} & set(kept)
    finally:
        stray.unlink()


def test_lists_of_another_set_and_missing_lists_are_refused(faces: Path, tmp_path: Path):
    exclusions = tmp_path / "exclude.txt"
    exclusions.write_text("train/images/nobody.jpg\n")
    with pytest.raises(InputError, match=r"nobody\.jpg"):
        find_pairs(faces, "train", exclude=exclusions)
    with pytest.raises(InputError, match=r"data\.exclude"):
        find_pairs(faces, "train", exclude=tmp_path / "nowhere.txt")


def test_excluding_everything_is_refused(faces: Path, tmp_path: Path):
    exclusions = tmp_path / "exclude.txt"
    exclusions.write_text("\n".join(str(pair.image.relative_to(faces)) for pair in find_pairs(faces, "test")))
    with pytest.raises(InputError, match="all 3 pictures are excluded"):
        find_pairs(faces, "test", exclude=exclusions)
