"""The raw release becomes pictures and masks; what is missing, broken or ambiguous in it is one line."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from celebamask_helpers import FACES, contents, run_conversion
from PIL import Image

from benchmarks.data.raw_celebamask import MAPPING, PARTS, PICTURES
from lisa.data.celebamask import source as source_layout
from lisa.data.celebamask.convert import MANIFEST, convert, merge_parts
from lisa.data.celebamask.source import report_split
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.labels import IDS, PALETTE

pytestmark = pytest.mark.xdist_group("the raw release")  # one process makes it


def refused(source: Path, output: Path) -> str:
    with pytest.raises(InputError) as caught:
        convert(source, output, workers=1)
    assert not (output / MANIFEST).exists()
    return str(caught.value)


def test_masks_are_exact_and_pictures_close_to_lanczos(raw: Path, undisturbed: Path):
    for index, split in ((0, "train"), (8, "val"), (9, "test")):
        expected = Image.fromarray(draw_face(index, 128)[1]).resize((512, 512), Image.Resampling.NEAREST)
        with Image.open(undisturbed / split / "masks" / f"{index:05d}.png") as mask:
            assert np.array_equal(np.asarray(mask), np.asarray(expected))
            assert tuple(mask.getpalette() or ())[: len(PALETTE)] == PALETTE
        with Image.open(raw / PICTURES / f"{index}.jpg") as large:
            reference = np.asarray(large.resize((512, 512), Image.Resampling.LANCZOS), float)
        with Image.open(undisturbed / split / "images" / f"{index:05d}.jpg") as picture:
            assert picture.size == (512, 512)
            assert np.mean((np.asarray(picture, float) - reference) ** 2) < 6.5  # 40 dB


def test_official_split_follows_the_mapping(undisturbed: Path):
    assert sorted(path.stem for path in undisturbed.glob("val/images/*")) == [
        f"{index:05d}" for index in range(8, FACES, 10)
    ]
    assert sorted(path.stem for path in undisturbed.glob("test/masks/*")) == [
        f"{index:05d}" for index in range(9, FACES, 10)
    ]
    assert len(list(undisturbed.glob("train/images/*"))) == FACES * 8 // 10


def test_later_parts_are_painted_over_earlier_ones(tmp_path: Path):
    parts = []
    for name, columns in (("skin", slice(0, 400)), ("hair", slice(300, 512))):
        pixels = np.zeros((512, 512), np.uint8)
        pixels[:, columns] = 255
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        parts.append((name, tmp_path / f"{name}.png"))
    merged = merge_parts(tuple(parts))
    assert (merged[:, :300] == IDS["skin"]).all()
    assert (merged[:, 300:] == IDS["hair"]).all()


def test_manifest_lists_every_file_with_its_hash(undisturbed: Path):
    head, *rows = (json.loads(line) for line in (undisturbed / MANIFEST).read_text().splitlines())
    assert head["merge_order"][0] == "skin"
    assert head["split"] == "official"
    assert [row["source_index"] for row in rows] == list(range(FACES))
    for row in rows:
        for kind, suffix in (("image", "jpg"), ("mask", "png")):
            path = undisturbed / row["split"] / f"{kind}s" / f"{row['source_index']:05d}.{suffix}"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row[f"{kind}_sha256"]


def test_report_split_is_seeded_disjoint_and_of_the_right_sizes():
    split = report_split(range(7000), seed=1)
    assert {name: list(split.values()).count(name) for name in ("train", "val", "test")} == {
        "train": 5000, "val": 1000, "test": 100,
    }  # fmt: skip
    assert split == report_split(range(7000), seed=1)
    assert split != report_split(range(7000), seed=2)
    with pytest.raises(InputError, match="--seed -1: 0 or more"):
        report_split(range(7000), seed=-1)


def test_report_split_needs_enough_faces(raw: Path, tmp_path: Path):
    with pytest.raises(InputError, match=f"needs 6,100 pictures and the source has {FACES}"):
        convert(raw, tmp_path / "out", split="report")
    assert not (tmp_path / "out").exists()


def test_report_split_converts_only_what_it_drew(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(source_layout, "REPORT_SIZES", {"train": 1, "val": 1, "test": 0})
    (small / MAPPING).unlink()
    assert convert(small, tmp_path / "out", split="report", workers=1) == 2
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2


def test_a_source_that_has_changed_is_converted_again(small: Path, tmp_path: Path):
    assert convert(small, tmp_path / "out", workers=1) == 3
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    parts = sorted((small / PARTS / "0").glob("00001_*.png"))
    Image.new("L", (512, 512), 255).save(parts[0])
    convert(small, tmp_path / "out", workers=1)
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert [name for name in before if before[name] != after[name]] == ["00001.png"]


def test_parts_that_came_out_of_an_archive_later_are_painted(small: Path, tmp_path: Path):
    """They have the dates that they had in it."""
    late = sorted((small / PARTS / "0").glob("00001_*.png"))[0].rename(tmp_path / "late.png")
    convert(small, tmp_path / "out", workers=1)
    (mask,) = (tmp_path / "out").rglob("00001.png")
    before = mask.read_bytes()
    there = small / PARTS / "0/00001_hat.png"
    Image.new("L", (512, 512), 255).save(late)
    os.utime(late, (10**9, 10**9))
    late.rename(there)
    convert(small, tmp_path / "out", workers=1)
    assert mask.read_bytes() != before


def test_another_mapping_never_leaves_a_face_in_two_splits(small: Path, tmp_path: Path):
    convert(small, tmp_path / "out", workers=1)
    head, *rows = (small / MAPPING).read_text().splitlines()
    cells = rows[1].split()
    cells[1] = "162771"  # CelebA's first one in val
    (small / MAPPING).write_text("\n".join([head, rows[0], " ".join(cells), *rows[2:]]) + "\n")
    with pytest.raises(InputError, match=r"was begun with splits=\w+, not splits=\w+"):
        convert(small, tmp_path / "out", workers=1)
    marker = tmp_path / "out/celebamask.json"
    begun = json.loads(marker.read_text())
    marker.write_text(json.dumps({key: value for key, value in begun.items() if key != "splits"}))
    (small / MAPPING).write_text("\n".join([head, *rows]) + "\n")
    assert convert(small, tmp_path / "out", workers=1) == 3  # an older version's folder is gone on with
    assert json.loads(marker.read_text()) == begun


def test_unicode_and_spaces_in_paths(small: Path, tmp_path: Path):
    source, output = tmp_path / "Gesichter äöü 顔" / "raw", tmp_path / "out put" / "ñ"
    shutil.copytree(small, source)
    convert(source, output, workers=2)
    assert len(list(output.rglob("*.png"))) == 3


def test_misspelt_part_folder_is_pointed_at(small: Path, tmp_path: Path):
    (small / PARTS).rename(small / "CelebAMaskHQ-mask-anno")
    message = refused(small, tmp_path / "out")
    assert "CelebAMaskHQ-mask-anno" in message
    assert f"should be called {PARTS}" in message


def test_missing_folders_name_what_is_missing(small: Path, tmp_path: Path):
    assert "not a folder" in refused(tmp_path / "nowhere", tmp_path / "out")
    assert f"give --source {small}" in refused(small.parent, tmp_path / "out")
    shutil.rmtree(small / PARTS)
    assert str(small / PARTS) in refused(small, tmp_path / "out")


def test_missing_or_broken_mapping(small: Path, tmp_path: Path):
    mapping = small / MAPPING
    mapping.write_text("idx orig_idx orig_file\n0 ten 000011.jpg\n")
    assert "line 2" in refused(small, tmp_path / "out")
    mapping.write_text("idx orig_idx orig_file\n0 10 000011.jpg\n")
    assert "doesn't list 2" in refused(small, tmp_path / "out")
    mapping.unlink()
    assert "--split report" in refused(small, tmp_path / "out")


def test_part_of_another_size(small: Path, tmp_path: Path):
    part = small / PARTS / "0" / "00001_skin.png"
    Image.new("L", (256, 512)).save(part)
    message = refused(small, tmp_path / "out")
    assert str(part) in message
    assert "256x512" in message


@pytest.mark.parametrize("name", [f"{PARTS}/0/00002_nose.png", f"{PICTURES}/1.jpg"])
@pytest.mark.parametrize("damage", ["empty", "cut", "loop"])
def test_damaged_files_are_named(small: Path, tmp_path: Path, name: str, damage: str):
    victim = small / name
    content = victim.read_bytes()
    victim.unlink()
    if damage == "loop":
        victim.symlink_to(victim)
    else:
        victim.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    message = refused(small, tmp_path / "out")
    assert str(victim) in message
    assert {"empty": "empty", "cut": "damaged", "loop": "symbolic links"}[damage] in message


@pytest.mark.parametrize("name", [f"{PARTS}/0/00002_nose.png", f"{PICTURES}/1.jpg"])
def test_damaged_headers_are_named(small: Path, tmp_path: Path, name: str):
    """Pillow raises no OSError for them: ValueError for the PNG's, DecompressionBombError for the JPEG's."""
    victim = small / name
    content = bytearray(victim.read_bytes())
    if victim.suffix == ".png":
        content[8:12] = (5).to_bytes(4, "big")  # the length of IHDR
    else:
        frame = content.index(b"\xff\xc0")  # SOF0: length, bits, height, width
        content[frame + 5 : frame + 9] = b"\xff" * 4
    victim.write_bytes(content)
    message = refused(small, tmp_path / "out")
    assert str(victim) in message
    assert "damaged" in message


def test_part_folder_that_is_a_symlink_loop(small: Path, tmp_path: Path):
    (small / PARTS / "1").symlink_to(small / PARTS / "1")
    assert "symbolic links" in refused(small, tmp_path / "out")


def test_unknown_parts_and_incomplete_faces(small: Path, tmp_path: Path):
    stranger = small / PARTS / "0" / "00001_moustache.png"
    Image.new("L", (512, 512)).save(stranger)
    assert str(stranger) in refused(small, tmp_path / "out")
    stranger.unlink()
    (small / PICTURES / "1.jpg").unlink()
    assert "no picture" in refused(small, tmp_path / "out")
    shutil.copy(small / PICTURES / "0.jpg", small / PICTURES / "7.jpg")
    assert "7.jpg" in refused(small, tmp_path / "out")


@pytest.mark.parametrize("white", [1, 14, 255, "bits", "palette"])
def test_part_masks_of_any_two_levels_give_the_same_labels(small: Path, tmp_path: Path, white: int | str):
    convert(small, tmp_path / "reference", workers=1)
    for path in (small / PARTS / "0").glob("*.png"):
        part = np.asarray(Image.open(path).convert("L")) > 127
        if white == "palette":
            copy = Image.fromarray(part.astype(np.uint8), mode="P")
            copy.putpalette([0, 0, 0, 255, 255, 255])
        else:
            copy = Image.fromarray(part if white == "bits" else (part * int(white)).astype(np.uint8))
        copy.save(path)
    convert(small, tmp_path / "out", workers=1)
    masks = sorted((tmp_path / "reference").glob("*/masks/*.png"))
    assert len(masks) == 3
    for mask in masks:
        assert (tmp_path / "out" / mask.relative_to(tmp_path / "reference")).read_bytes() == mask.read_bytes()


def test_part_masks_that_say_nothing_clear_are_refused(small: Path, tmp_path: Path):
    part = small / PARTS / "0" / "00001_skin.png"
    pixels = np.zeros((512, 512), np.uint8)
    pixels[:200], pixels[200:300] = 3, 40
    Image.fromarray(pixels).save(part)
    assert f"{part} has several values from 0 to 40, must be 0 and 255" in refused(small, tmp_path / "out")
    clear = np.zeros((512, 512, 4), np.uint8)
    clear[:200, :, 3] = 255
    Image.fromarray(clear).save(part)
    assert f"{part} is partly transparent" in refused(small, tmp_path / "other")


@pytest.mark.parametrize("name", ["1.JPG", "1.png", "00001.jpeg"])
def test_pictures_under_other_names_are_found(small: Path, tmp_path: Path, name: str):
    convert(small, tmp_path / "reference", workers=1)
    picture = small / PICTURES / "1.jpg"
    if name.endswith("png"):
        Image.open(picture).save(small / PICTURES / name)
        picture.unlink()
    else:
        picture.rename(small / PICTURES / name)
    assert convert(small, tmp_path / "out", workers=1) == 3
    same, found = (np.asarray(Image.open(next((tmp_path / run).glob("*/images/00001.jpg"))), float)
                   for run in ("reference", "out"))  # fmt: skip
    assert np.abs(same - found).mean() < (0.001 if "png" not in name else 2)


def test_two_files_for_one_thing_are_refused(small: Path, tmp_path: Path):
    twin = small / PICTURES / "00001.jpg"
    shutil.copy(small / PICTURES / "1.jpg", twin)
    assert "1.jpg beside 00001.jpg" in refused(small, tmp_path / "out")
    twin.unlink()
    (small / PARTS / "1").mkdir()
    for copy in (small / PARTS / "0" / "1_skin.png", small / PARTS / "1" / "00001_skin.png"):
        shutil.copy(small / PARTS / "0" / "00001_skin.png", copy)
        message = refused(small, tmp_path / "out")
        assert "parts that come twice" in message
        assert copy.name in message
        copy.unlink()


def test_parts_that_would_be_lost_are_named_and_hidden_files_left_alone(small: Path, tmp_path: Path):
    folder = small / PARTS / "0"
    for hidden in (folder / "._00001_hair.png", small / PARTS / "._0", small / PICTURES / "._1.jpg"):
        hidden.write_bytes(b"\0\5\26\7")
    (folder / "Thumbs.db").write_bytes(b"")
    (folder / "00001_skin.png").rename(folder / "00001_skin.PNG")
    assert convert(small, tmp_path / "out", workers=1) == 3
    (folder / "00001_skin.PNG").rename(folder / "00001_skin.jpg")
    assert "00001_skin.jpg" in refused(small, tmp_path / "other")


def test_parts_may_lie_in_one_folder(small: Path, tmp_path: Path):
    for path in (small / PARTS / "0").iterdir():
        path.rename(small / PARTS / path.name)
    assert convert(small, tmp_path / "out", workers=1) == 3


def test_a_turned_picture_is_refused(small: Path, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(small / PICTURES / "1.jpg").save(small / PICTURES / "1.jpg", exif=exif)
    assert "1.jpg has an EXIF orientation" in refused(small, tmp_path / "out")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_mapping_may_lack_its_header(small: Path, tmp_path: Path, encoding: str):
    mapping = small / MAPPING
    rows = mapping.read_text().splitlines()
    convert(small, tmp_path / "reference", workers=1)
    mapping.write_text("\n".join(rows[1:]) + "\n", encoding=encoding)
    convert(small, tmp_path / "out", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "reference")
    mapping.write_text("\n".join([*rows, "0 7 000008.jpg"]) + "\n")
    assert "gives 0 another original" in refused(small, tmp_path / "other")


def test_other_settings_in_a_begun_output_are_refused(small: Path, tmp_path: Path):
    convert(small, tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="seed=0, not seed=5"):
        convert(small, tmp_path / "out", seed=5, workers=1)


def test_source_is_left_alone_and_may_be_read_only(small: Path, tmp_path: Path):
    before = contents(small)
    folders = [small, *(path for path in small.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        convert(small, tmp_path / "out", workers=2)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert contents(small) == before


def test_command_ends_with_one_line(small: Path, tmp_path: Path):
    (small / PARTS / "0" / "00000_skin.png").write_bytes(b"")
    done = run_conversion(small, tmp_path / "out")
    assert done.returncode == 2
    assert "error: can't read part mask" in done.stderr
    assert "Traceback" not in done.stderr
