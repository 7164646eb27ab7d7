"""Names, sizes and exclusion lists as users bring them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lisa.data.checking import check_pairs
from lisa.data.faces import FaceDataset
from lisa.data.folders import find_pairs, unread_notes
from lisa.errors import InputError
from lisa.evaluation.evaluate import evaluate
from lisa.labels import NUM_CLASSES
from lisa.world import World


def check(root: Path) -> None:
    check_pairs(find_pairs(root, "train"))


def test_lapas_own_folders_are_read(make_faces: Callable[..., Path]):
    """Its masks lie in labels, beside images; where there are masks too, these are meant."""
    root = make_faces()
    masks, labels = root / "train/masks", root / "train/labels"
    labels.mkdir()
    assert {pair.mask.parent for pair in find_pairs(root, "train")} == {masks}
    labels.rmdir()
    masks.rename(labels)
    assert {pair.mask.parent for pair in find_pairs(root, "train")} == {labels}
    check(root)


def test_splits_inside_the_folders_are_told_where_they_go(make_faces: Callable[..., Path]):
    """EasyPortrait's images/train and annotations/train."""
    root = make_faces()
    for kind, name in (("images", "images"), ("masks", "annotations")):
        (root / name).mkdir()
        (root / "train" / kind).rename(root / name / "train")
    with pytest.raises(InputError) as caught:
        find_pairs(root, "train")
    assert str(caught.value) == (
        f"{root}: no split 'train' here (neither train/images with train/masks nor train_image with "
        "train_mask nor train/images with train/labels); images/train is there: make it train/images, and "
        "its masks' folder train/masks"
    )


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ("00001.png", r"no mask .*masks/1\.png; 00001\.png is there: give both the same name"),
        ("1.jpg.png", r"no mask .*masks/1\.png; 1\.jpg\.png is there: give both the same name"),
        ("1_mask.png", r"no mask .*masks/1\.png; 1_mask\.png is there"),
        ("1.bmp", r"no mask .*masks/1\.png; 1\.bmp is there, but is no PNG"),
        ("1.jpg", r"no mask .*masks/1\.png; 1\.jpg is there, but its lossy compression"),
        ("other.png", r"no mask .*masks/1\.png\n"),
    ],
)
def test_what_is_there_instead_of_a_mask_is_named(make_faces: Callable[..., Path], mask: str, told: str):
    root = make_faces()
    path = root / "train/masks/1.png"
    if Path(mask).suffix == ".png":
        path.rename(path.with_name(mask))
    else:
        Image.open(path).convert("RGB").save(path.with_name(mask))
        path.unlink()
    with pytest.raises(InputError) as caught:
        find_pairs(root, "train")
    assert caught.match(told.removesuffix(r"\n") if mask != "other.png" else told)


def test_what_is_there_instead_of_a_picture_is_named(make_faces: Callable[..., Path]):
    root = make_faces()
    images = root / "train/images"
    (images / "1.png").rename(images / "01.png")
    (images / "2.png").rename(images / "2.dng")
    with pytest.raises(InputError) as caught:
        find_pairs(root, "train")
    assert caught.match(r"masks/1\.png: no picture of this stem; 01\.png is there")
    assert caught.match(
        r"masks/2\.png: no picture of this stem; 2\.dng is there, but is no picture that is read"
    )
    assert caught.match(r"images/01\.png: no mask .*01\.png; 1\.png is there")


def test_what_never_ends_is_named(make_faces: Callable[..., Path]):
    root = make_faces()
    for path in (root / "train/images/1.png", root / "train/masks/2.png"):
        path.unlink()
        os.mkfifo(path)
    with pytest.raises(InputError) as caught:
        find_pairs(root, "train")
    for path in ("images/1", "masks/2"):
        assert caught.match(rf"{path}\.png: no file but a folder, a pipe, a socket or a device")


def test_endings_in_capitals_and_hidden_files(make_faces: Callable[..., Path]):
    root = make_faces()
    (root / "train/images/1.png").rename(root / "train/images/1.PNG")
    (root / "train/masks/2.png").rename(root / "train/masks/2.PNG")
    (root / "train/images/._3.png").write_bytes(b"\0\5\26\7")
    assert len(find_pairs(root, "train")) == 4


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pictures_larger_by_a_whole_factor_train(make_faces: Callable[..., Path], factor: int):
    root = make_faces(size=(40, 32))
    small = FaceDataset(find_pairs(root, "train"), 16)[0]
    for path in (root / "train/images").iterdir():
        picture = Image.open(path)
        picture.resize((factor * 32, factor * 40), Image.Resampling.NEAREST).save(path)
    check(root)
    large = FaceDataset(find_pairs(root, "train"), 16)[0]
    assert torch.equal(large.mask, small.mask)
    assert (large.image.float() - small.image.float()).abs().mean() < 4


@pytest.mark.parametrize("size", [(60, 60), (40, 80), (20, 20), (81, 80)])
def test_other_sizes_are_refused(make_faces: Callable[..., Path], size: tuple[int, int]):
    root = make_faces()
    Image.new("RGB", size).save(root / "train/images/1.png")
    told = rf"1\.png: 40x40, its picture is {size[0]}x{size[1]}; resize the mask by nearest"
    with pytest.raises(InputError, match=told):
        check(root)


class Grey(nn.Module):
    """Says skin where the picture is bright."""

    def forward(self, images: Tensor) -> Tensor:
        scores = images.new_zeros(images.shape[0], NUM_CLASSES, *images.shape[-2:])
        scores[:, 1] = images.mean(1)
        return scores


def test_evaluation_counts_at_the_masks_resolution(make_faces: Callable[..., Path]):
    root = make_faces(val=1)
    for path in (root / "val/images").iterdir():
        pixels = np.zeros((80, 80, 3), np.uint8)
        pixels[:, :40] = 255
        Image.fromarray(pixels).save(path)
    tally = evaluate(Grey(), 80, find_pairs(root, "val"), World()).tally
    assert int(tally.confusion.sum()) == 40 * 40
    assert int(tally.confusion.sum(0)[1]) == 40 * 20


LIST = "# why\ntrain/images/1.png\ntrain/masks/M\u00e4dchen.png\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lists_of_any_encoding(make_faces: Callable[..., Path], tmp_path: Path, encoding: str, newline: str):
    root = make_faces()
    for kind in ("images", "masks"):
        (root / "train" / kind / "2.png").rename(root / "train" / kind / "M\u00e4dchen.png")
    listed = tmp_path / "exclude.txt"
    listed.write_bytes(LIST.replace("\n", newline).encode(encoding))
    assert [pair.image.stem for pair in find_pairs(root, "train", exclude=listed)] == ["0", "3"]


def test_lists_of_odd_paths(make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = make_faces()
    for kind in ("images", "masks"):
        (root / "train" / kind / "2.png").rename(root / "train" / kind / "Ma\u0308dchen.png")
    listed = tmp_path / "exclude.txt"
    lines = [
        f"{root}/train/images/0.png",
        ".\\train\\masks\\1.png",
        "train/../train/images/M\u00e4dchen.png ",
    ]
    listed.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for folder in (root, root.relative_to(tmp_path)):
        assert [pair.image.stem for pair in find_pairs(folder, "train", exclude=listed)] == ["3"]
    (root / "train/images/folder.png").mkdir()
    listed.write_text("train/images/folder.png", encoding="utf-8")  # as the doctor lists it
    assert len(find_pairs(root, "train", exclude=listed)) == 4
    for line in ("train/images", "train/images/9.png", str(listed)):
        listed.write_text(line)
        with pytest.raises(InputError, match=r"data\.exclude .* names files that are not there"):
            find_pairs(root, "train", exclude=listed)


def test_folders_of_pictures_beside_the_pairs_are_told(make_faces: Callable[..., Path]):
    root = make_faces()
    for kind in ("images", "masks"):
        (root / "train" / kind / "person1").mkdir()
        (root / "train" / kind / ".thumbnails").mkdir()
        (root / f"train/{kind}/1.png").rename(root / f"train/{kind}/person1/1.png")
    (root / "train/images/loop").symlink_to("loop")
    (root / "train/images/notes").mkdir()
    (root / "train/images/notes/a.txt").touch()
    assert unread_notes(root, "train") == [
        f"{root / 'train' / kind / 'person1'} holds pictures that are left out: subfolders are not read"
        for kind in ("images", "masks")
    ]
    assert unread_notes(root, "val") == []
