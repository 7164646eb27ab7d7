import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from encoding_helpers import FACE_PARSING, encoding, inverse_table
from PIL import Image, ImageEnhance

from lisa.data.doctor.doctor import KINDS, Diagnosis, diagnose, exclusions, main, relative, repairs
from lisa.data.folders import find_pairs
from lisa.data.pairs import decode
from lisa.data.repair import repair_sides
from lisa.data.source import Folder
from lisa.data.synthetic import write_dataset
from lisa.errors import InputError
from lisa.labels import IDS, NAMES, PALETTE, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import read_encoding

REAL = Path(__file__).resolve().parents[5].parent / "shared" / "celebamask_mini"
FLIP = CELEBAMASK.flip_table()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("doctor") / "clean"
    write_dataset(root, count=60, seed=5, size=128)
    (root / "synthetic.json").unlink()
    return root


@pytest.fixture
def faces(clean: Path, tmp_path: Path) -> Path:
    """A copy to plant faults in."""
    return Path(shutil.copytree(clean, tmp_path / "faces with ü"))


def ids_of(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.array(mask)


def save_ids(ids: np.ndarray, path: Path) -> None:
    mask = Image.fromarray(ids, mode="P")
    mask.putpalette(PALETTE)
    mask.save(path)


def found(diagnosis: Diagnosis) -> set[tuple[str, str]]:
    return {(finding.kind, relative(finding.file, diagnosis.root)) for finding in diagnosis.findings}


def faces_with(root: Path, split: str, names: tuple[str, ...]) -> list[str]:
    """Stems of the faces that show all these parts."""
    return [
        pair.image.stem
        for pair in find_pairs(root, split)
        if all((ids_of(pair.mask) == IDS[name]).any() for name in names)
    ]


@pytest.mark.parametrize("depth", ["", "p1"])
def test_a_split_without_pictures_is_no_clean_one(depth: str, tmp_path: Path):
    """Say, a folder for each person: nothing was looked at."""
    for kind in ("images", "masks"):
        (tmp_path / "train" / kind / depth).mkdir(parents=True)
        if depth:
            save_ids(np.ones((9, 9), np.uint8), tmp_path / "train" / kind / depth / "a.png")
    with pytest.raises(InputError, match=r"train/images: no pictures \(.*subfolders are not read"):
        diagnose(tmp_path)


def test_clean_synthetic_data_gives_no_finding(clean: Path):
    diagnosis = diagnose(clean)
    assert found(diagnosis) == set()
    assert diagnosis.pictures == {"train": 48, "val": 6, "test": 6}
    assert diagnosis.presence["train"][IDS["skin"]] == 48
    assert diagnosis.pixels["val"].sum() == 6 * 128 * 128


def unpaired(root: Path) -> set[tuple[str, str]]:
    (root / "train/masks/000003.png").unlink()
    (root / "val/images/000050.jpg").unlink()
    shutil.copy(root / "train/images/000004.jpg", root / "train/images/000004.jpeg")
    return {
        ("unpaired", "train/images/000003.jpg"),
        ("unpaired", "val/masks/000050.png"),
        ("unpaired", "train/images/000004.jpg"),
    }


def unreadable(root: Path) -> set[tuple[str, str]]:
    (root / "train/masks/000001.png").write_bytes(b"")
    picture = root / "train/images/000002.jpg"
    picture.write_bytes(picture.read_bytes()[:900])
    (root / "test/masks/000055.png").write_text("not a picture")
    loop = root / "val/images/000049.jpg"
    loop.unlink()
    loop.symlink_to(loop)
    return {
        ("unreadable", "train/masks/000001.png"),
        ("unreadable", "train/images/000002.jpg"),
        ("unreadable", "test/masks/000055.png"),
        ("unreadable", "val/images/000049.jpg"),
    }


def mis_sized(root: Path) -> set[tuple[str, str]]:
    save_ids(ids_of(root / "train/masks/000007.png")[:, :100], root / "train/masks/000007.png")
    return {("size", "train/masks/000007.png")}


def bad_ids(root: Path) -> set[tuple[str, str]]:
    for name, value in (("000010", 19), ("000011", 254)):
        ids = ids_of(root / f"train/masks/{name}.png")
        ids[0, 0] = value
        Image.fromarray(ids).save(root / f"train/masks/{name}.png")
    return {("ids", f"train/masks/{name}.png") for name in ("000010", "000011")}


def odd_masks(root: Path) -> set[tuple[str, str]]:
    """A JPEG by another name, foreign colours, a binary mask, one that was resized smoothly, nothing
    labelled."""
    masks = root / "train/masks"
    Image.fromarray(ids_of(masks / "000012.png")).save(masks / "000012.png", "JPEG")
    with Image.open(root / "train/images/000013.jpg") as photo:
        photo.save(masks / "000013.png")
    save_ids((ids_of(masks / "000014.png") > 0) * np.uint8(255), masks / "000014.png")
    small = Image.fromarray(ids_of(masks / "000015.png")).resize((80, 80), Image.Resampling.BILINEAR)
    small.resize((128, 128), Image.Resampling.NEAREST).save(masks / "000015.png")
    save_ids(np.zeros((128, 128), np.uint8), masks / "000016.png")
    kinds = ("lossy", "colours", "binary", "rims", "empty")
    return {(kind, f"train/masks/0000{number}.png") for number, kind in enumerate(kinds, 12)}


def left_right(root: Path) -> set[tuple[str, str]]:
    """A mirrored picture whose labels didn't change sides, swapped ears, and one eye's label on both."""
    mirrored, swapped, one_eye = faces_with(root, "train", ("l_eye", "r_eye", "l_ear", "r_ear"))[:3]
    path = root / f"train/masks/{mirrored}.png"
    save_ids(ids_of(path)[:, ::-1], path)
    with Image.open(root / f"train/images/{mirrored}.jpg") as picture:
        flipped = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped.save(root / f"train/images/{mirrored}.jpg")
    path = root / f"train/masks/{swapped}.png"
    ids = ids_of(path)
    save_ids(np.where(np.isin(ids, (8, 9)), FLIP[ids], ids), path)
    path = root / f"train/masks/{one_eye}.png"
    ids = ids_of(path)
    save_ids(np.where(ids == IDS["r_eye"], np.uint8(IDS["l_eye"]), ids), path)
    return {("left-right", f"train/images/{stem}.jpg") for stem in (mirrored, swapped, one_eye)}


def missing(root: Path) -> set[tuple[str, str]]:
    plain = [
        stem
        for stem in faces_with(root, "train", ("l_eye", "r_eye"))
        if not (ids_of(root / f"train/masks/{stem}.png") == IDS["eye_g"]).any()
    ]
    for stem, parts in zip(plain, (("l_eye", "r_eye"), ("nose",)), strict=False):
        path = root / f"train/masks/{stem}.png"
        ids = ids_of(path)
        ids[np.isin(ids, [IDS[part] for part in parts])] = IDS["skin"]
        save_ids(ids, path)
    return {("missing", f"train/images/{stem}.jpg") for stem in plain[:2]}


def speckled(root: Path) -> set[tuple[str, str]]:
    path = root / "train/masks/000020.png"
    ids = ids_of(path)
    rows, columns = np.nonzero(ids == IDS["hair"])
    chosen = np.random.default_rng(0).choice(len(rows), 80, replace=False)
    ids[rows[chosen], columns[chosen]] = IDS["cloth"]
    save_ids(ids, path)
    return {("speckle", "train/images/000020.jpg")}


def copies(root: Path) -> set[tuple[str, str]]:
    """A copy, a recompressed and brightened copy, and copies of train pictures in val and test."""
    with Image.open(root / "train/images/000030.jpg") as picture:
        altered = ImageEnhance.Brightness(picture.resize((96, 96)).resize((128, 128))).enhance(1.2)
    for source, target in (
        ("train/{}/000030.{}", "train/{}/900000.{}"),
        ("train/{}/000031.{}", "train/{}/900001.{}"),
        ("train/{}/000032.{}", "val/{}/900002.{}"),
        ("test/{}/000056.{}", "val/{}/900003.{}"),
    ):
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            shutil.copy(root / source.format(kind, suffix), root / target.format(kind, suffix))
    altered.save(root / "train/images/900000.jpg", quality=40)
    return {
        ("duplicate", "train/images/900000.jpg"),
        ("duplicate", "train/images/900001.jpg"),
        ("leak", "train/images/000032.jpg"),
        ("leak", "val/images/900003.jpg"),
    }


PLANTS = (unpaired, unreadable, mis_sized, bad_ids, odd_masks, left_right, missing, speckled, copies)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_planted_faults_are_all_found_and_nothing_else(
    faces: Path, plant: Callable[[Path], set[tuple[str, str]]]
):
    planted = plant(faces)
    assert found(diagnose(faces, workers=1)) == planted


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("label-order", lambda ids: inverse_table(encoding(FACE_PARSING))[ids]),
        ("shifted", lambda ids: ids + np.uint8(1)),
        ("scaled", lambda ids: ids * np.uint8(13)),
        ("binary", lambda ids: (ids > 0) * np.uint8(255)),
        ("empty", lambda ids: np.full_like(ids, 255)),
    ],
)
def test_what_all_masks_have_is_one_finding_per_split(
    clean: Path, faces: Path, kind: str, change: Callable[[np.ndarray], np.ndarray]
):
    """No faces that seem to lack eyes beside it."""
    for pair in find_pairs(clean, "train"):
        path = faces / pair.mask.relative_to(clean)
        Image.fromarray(change(ids_of(path))).save(path)
    diagnosis = diagnose(faces, workers=1)
    assert found(diagnosis) == {(kind, "train/masks")}
    assert exclusions(diagnosis).count("\n") == 1, "nothing to leave out"


def test_another_order_is_clean_if_it_is_named(clean: Path, faces: Path):
    for pair in find_pairs(clean, "train"):
        Image.fromarray(inverse_table(encoding(FACE_PARSING))[ids_of(pair.mask)]).save(
            faces / pair.mask.relative_to(clean)
        )
    for split in ("val", "test"):
        shutil.rmtree(faces / split)
    assert found(diagnose(faces, encoding(FACE_PARSING), workers=1)) == set()


def test_masks_read_by_colour_are_noted(clean: Path, faces: Path):
    colors = np.array(PALETTE, np.uint8).reshape(-1, 3)
    for pair in find_pairs(clean, "val"):
        Image.fromarray(colors[ids_of(pair.mask)]).save(faces / pair.mask.relative_to(clean))
    diagnosis = diagnose(faces, workers=1)
    assert found(diagnosis) == set()
    assert diagnosis.notes[0].startswith("val: 6 of 6 masks were read by their colours")


def test_the_other_folder_layout_is_read(clean: Path, tmp_path: Path):
    for split in ("train", "val", "test"):
        for kind in ("image", "mask"):
            shutil.copytree(clean / split / f"{kind}s", tmp_path / f"{split}_{kind}")
    assert diagnose(tmp_path, workers=1).pictures == {"train": 48, "val": 6, "test": 6}


def test_excluding_what_was_found_leaves_a_clean_set(faces: Path, tmp_path: Path):
    for plant in (unpaired, unreadable, mis_sized, bad_ids, odd_masks, speckled, copies):
        plant(faces)
    listed = tmp_path / "exclude.txt"
    listed.write_text(exclusions(diagnose(faces, workers=1)))
    assert len(find_pairs(faces, "train", exclude=listed)) < 48
    for line in listed.read_text().splitlines():
        if not line.startswith("#"):
            (faces / line).unlink()
    remaining = {kind for kind, _ in found(diagnose(faces, workers=1))}
    assert remaining <= {"unpaired"}, "only the partners of what was removed"


def test_repairing_what_was_found_gives_the_true_masks(clean: Path, faces: Path, tmp_path: Path):
    left_right(faces)  # of these a swap mends the mirrored face alone: the others have one right pair
    wholly = faces_with(faces, "train", ("l_eye", "r_eye", "l_brow"))[-1]
    save_ids(FLIP[ids_of(faces / f"train/masks/{wholly}.png")], faces / f"train/masks/{wholly}.png")
    listed = tmp_path / "repair.txt"
    listed.write_text(repairs(diagnose(faces, workers=1)))
    lines = [line for line in listed.read_text().splitlines() if not line.startswith("#")]
    mirrored = faces_with(clean, "train", ("l_eye", "r_eye", "l_ear", "r_ear"))[0]
    assert sorted(lines) == sorted(f"train/images/{stem}.jpg" for stem in (mirrored, wholly))
    given = find_pairs(faces, "train")
    repaired = repair_sides(given, str(listed), str(faces))
    assert [new.image.stem for old, new in zip(given, repaired, strict=True) if old != new] == sorted(
        (mirrored, wholly)
    )
    for pair in repaired:
        true = ids_of(clean / "train/masks" / pair.mask.name)
        if pair.image.stem == wholly:
            assert np.array_equal(np.asarray(decode(pair).mask), true)
        if pair.image.stem == mirrored:
            assert np.array_equal(np.asarray(decode(pair).mask), FLIP[true[:, ::-1]])


def test_repairing_what_is_exchanged_already_takes_it_back(clean: Path, tmp_path: Path):
    """As of a picture that EXIF mirrors."""
    first, *others = find_pairs(clean, "train")
    listed = tmp_path / "repair.txt"
    listed.write_text(f"train/images/{first.image.name}\n")
    assert repair_sides([first._replace(swap=True), *others], str(listed), str(clean)) == [first, *others]


def test_a_set_without_sides_can_not_be_repaired(clean: Path, tmp_path: Path):
    listed = tmp_path / "repair.txt"
    listed.write_text("")
    pairs = find_pairs(clean, "train", read_encoding("celebamask-hq", read_label_set("coarse")))
    with pytest.raises(InputError, match="label set coarse tells no left from right"):
        repair_sides(pairs, str(listed), str(clean))


@pytest.mark.parametrize("path", ["nowhere/a.json", "."])
def test_a_report_that_can_not_be_written_costs_no_examination(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    monkeypatch.setattr("lisa.data.doctor.doctor.diagnose", lambda *asked: pytest.fail("it examined"))
    with pytest.raises(SystemExit, match="2"):
        main(Folder(clean), json=tmp_path / path)


def test_a_folder_without_splits_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no split"):
        diagnose(tmp_path)


@pytest.mark.slow
def test_command_writes_its_reports_and_says_so_in_the_exit_code(clean: Path, faces: Path, tmp_path: Path):
    def run(data: Path) -> subprocess.CompletedProcess[str]:
        report = ["--json", str(tmp_path / "report.json"), "--exclude-to", str(tmp_path / "exclude.txt")]
        command = [sys.executable, "-m", "lisa.data.doctor", "--data", str(data), *report]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run(clean).returncode == 0
    planted = speckled(faces)
    done = run(faces)
    assert done.returncode == 1
    assert all(kind in done.stdout for kind in KINDS)
    report = json.loads((tmp_path / "report.json").read_text())
    assert {(item["kind"], item["file"]) for item in report["findings"]} == planted
    assert set(report["classes"]["train"]) == set(NAMES)
    assert (tmp_path / "exclude.txt").read_text().splitlines()[-1] == "train/images/000020.jpg"
    assert run(tmp_path / "nowhere").returncode == 2


@pytest.mark.slow
def test_a_file_name_that_is_no_utf8_comes_through(faces: Path, tmp_path: Path):
    odd = faces / "train/images" / os.fsdecode(b"caf\xe9 [b].jpg")
    odd.write_bytes(b"")
    report = ["--json", str(tmp_path / "report.json"), "--exclude-to", str(tmp_path / "exclude.txt")]
    command = [sys.executable, "-m", "lisa.data.doctor", "--data", str(faces), *report]
    wide = {**os.environ, "COLUMNS": "300"}
    done = subprocess.run(command, env=wide, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert r"caf\xe9 [b].jpg" in done.stdout
    findings = json.loads((tmp_path / "report.json").read_text())["findings"]
    assert faces / findings[0]["file"] == odd
    with pytest.raises(InputError):
        find_pairs(faces, "train")
    assert len(find_pairs(faces, "train", exclude=tmp_path / "exclude.txt")) == 48


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="no real masks here")
def test_real_faces_have_the_known_faults(tmp_path: Path):
    """Those 13 were looked at: left and right are reversed indeed, and the other one shows no eyes."""
    (tmp_path / "val").symlink_to(REAL / "val")
    kinds = [finding.kind for finding in diagnose(tmp_path).findings]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"left-right": 13, "missing": 1}
