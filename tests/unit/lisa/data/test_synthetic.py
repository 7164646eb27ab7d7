import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lisa.data.portraits.canvas import Canvas, ellipse
from lisa.data.portraits.traits import plan_traits
from lisa.data.synthetic import draw_face, write_dataset
from lisa.errors import InputError
from lisa.labels import IDS, NUM_CLASSES, PALETTE, Label, LabelSet, read_label_set


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def masks(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((folder / "masks").glob("*.png"))]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "faces"
    write_dataset(folder, count=60, seed=3, size=96, workers=2)
    return folder


@pytest.mark.parametrize("size", [64, 97, 256])
def test_face_has_the_promised_shape_at_any_size(size: int):
    picture, mask = draw_face(5, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert mask.shape == (size, size)
    assert mask.dtype == np.uint8
    assert mask.max() < NUM_CLASSES


def test_same_seed_same_face_and_another_seed_another():
    first, second, other = draw_face(7, 64), draw_face(7, 64), draw_face(8, 64)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[1], other[1])


def test_geometry_does_not_depend_on_the_size():
    small, large = draw_face(11, 128)[1], draw_face(11, 256)[1]
    assert (small == large[::2, ::2]).mean() > 0.97


def test_left_and_right_are_the_persons():
    for seed in range(30):
        mask = draw_face(seed, 128)[1]
        columns = {name: np.nonzero(mask == IDS[name])[1] for name in ("l_eye", "r_eye", "l_brow", "r_brow")}
        for left, right in (("l_eye", "r_eye"), ("l_brow", "r_brow")):
            if len(columns[left]) and len(columns[right]):
                assert columns[left].mean() > columns[right].mean(), f"seed {seed}"


def test_edges_are_soft_in_the_picture_and_hard_in_the_mask():
    canvas = Canvas(32)
    disc = canvas.cover(ellipse((0.5, 0.5), (0.3, 0.3)))
    canvas.paint(disc, (1.0, 1.0, 1.0), "nose")
    soft = (canvas.picture > 0.05) & (canvas.picture < 0.95)
    assert soft.any()
    assert set(np.unique(canvas.mask)) == {0, IDS["nose"]}
    assert np.array_equal(canvas.mask == IDS["nose"], canvas.picture[..., 0] >= 0.5)
    area = np.pi * (0.3 * 32) ** 2
    assert abs(canvas.picture[..., 0].sum() - area) < 0.02 * area


def test_every_class_is_in_every_split(dataset: Path):
    for split in ("train", "val", "test"):
        found = np.unique(np.concatenate([mask.ravel() for mask in masks(dataset / split)]))
        assert found.tolist() == list(range(NUM_CLASSES)), split


def test_splits_are_eighty_ten_ten_with_masks_in_the_palette(dataset: Path):
    for split, count in (("train", 48), ("val", 6), ("test", 6)):
        pictures = sorted(path.stem for path in (dataset / split / "images").glob("*.jpg"))
        assert pictures == sorted(path.stem for path in (dataset / split / "masks").glob("*.png"))
        assert len(pictures) == count
    with Image.open(next((dataset / "train" / "masks").glob("*.png"))) as mask:
        assert mask.mode == "P"
        assert tuple(mask.getpalette() or ())[: len(PALETTE)] == PALETTE


@pytest.mark.slow
def test_class_frequencies_are_near_the_real_sets():
    present = np.zeros(NUM_CLASSES)
    for seed in range(400):
        present[np.unique(draw_face(seed, 64)[1])] += 1 / 400
    real = {
        "eye_g": 0.058, "hat": 0.053, "neck_l": 0.045, "ear_r": 0.23, "l_ear": 0.53, "r_ear": 0.48,
        "mouth": 0.57, "cloth": 0.6, "hair": 0.96, "l_eye": 0.97, "r_eye": 0.97, "neck": 0.97,
    }  # fmt: skip
    for name, rate in real.items():
        assert abs(present[IDS[name]] - rate) < 0.02 + 3.5 * (rate * (1 - rate) / 400) ** 0.5, name


def test_files_do_not_depend_on_the_number_of_processes(tmp_path: Path):
    write_dataset(tmp_path / "one", count=12, seed=1, size=64, workers=1)
    write_dataset(tmp_path / "two", count=12, seed=1, size=64, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_finished_files_are_kept_and_missing_ones_drawn_again(tmp_path: Path):
    write_dataset(tmp_path, count=10, seed=1, size=64, workers=1)
    before = contents(tmp_path)
    gone, kept = sorted((tmp_path / "train" / "images").glob("*.jpg"))[:2]
    gone.unlink()
    nobody, somebody = (
        tmp_path / "train" / "masks" / f".000001.png.{platform.node()}.{process}.part"
        for process in (2**30, os.getpid())
    )
    for part in (nobody, somebody):
        part.write_bytes(b"half")
    stamp = kept.stat().st_mtime_ns
    write_dataset(tmp_path, count=10, seed=1, size=64, workers=1)
    assert not nobody.exists()
    somebody.unlink()  # of a process that still runs: left alone
    assert contents(tmp_path) == before
    assert kept.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", [{"count": 11}, {"seed": 2}, {"size": 65}])
def test_other_settings_in_a_begun_folder_are_refused(tmp_path: Path, change: dict[str, Any]):
    settings: dict[str, Any] = {"count": 10, "seed": 1, "size": 64}
    write_dataset(tmp_path, **settings, workers=1)
    with pytest.raises(InputError, match=next(iter(change))):
        write_dataset(tmp_path, **{**settings, **change}, workers=1)


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="not empty"):
        write_dataset(tmp_path, count=10, seed=0, size=64, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


@pytest.mark.parametrize("bad", [{"count": 9}, {"size": 63}, {"size": 5000}, {"seed": -1}])
def test_bad_settings_are_named(tmp_path: Path, bad: dict[str, Any]):
    name, value = next(iter(bad.items()))
    settings: dict[str, Any] = {"count": 10, "seed": 0, "size": 64}
    with pytest.raises(InputError, match=f"--{name} {value}"):
        write_dataset(tmp_path / "new", **{**settings, **bad})


@pytest.mark.slow
def test_killed_and_restarted_equals_undisturbed(tmp_path: Path):
    output = tmp_path / "gesichter mit ü"
    command = [sys.executable, "-m", "lisa.data.synthetic", "--output", str(output)]
    command += ["--count", "40", "--seed", "9", "--size", "128"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(output.rglob("*.jpg"))) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(output.rglob("*.jpg"))) < 40
    subprocess.run(command, check=True, capture_output=True)
    write_dataset(tmp_path / "undisturbed", count=40, seed=9, size=128)
    assert contents(output) == contents(tmp_path / "undisturbed")
    assert json.loads((output / "synthetic.json").read_text())["count"] == 40


def test_the_same_faces_under_another_label_set(dataset: Path, tmp_path: Path):
    lapa = read_label_set("lapa")
    write_dataset(tmp_path / "lapa", count=60, seed=3, size=96, workers=2, labels=lapa)
    pictures = {name: data for name, data in contents(dataset).items() if name.endswith("jpg")}
    assert pictures == {n: data for n, data in contents(tmp_path / "lapa").items() if n.endswith("jpg")}
    for ours, theirs in zip(masks(dataset / "val"), masks(tmp_path / "lapa" / "val"), strict=True):
        assert np.array_equal(ours == IDS["hair"], theirs == lapa.ids["hair"])
        assert np.array_equal(ours == IDS["r_eye"], theirs == lapa.ids["left_eye"])  # LaPa's is the picture's
        assert np.array_equal(np.isin(ours, [IDS["skin"], IDS["eye_g"]]), theirs == lapa.ids["skin"])
    with Image.open(tmp_path / "lapa/val/masks/000048.png") as mask:
        assert (mask.getpalette() or [])[: 3 * len(lapa)] == list(lapa.palette)
    with pytest.raises(InputError, match="was begun with"):
        write_dataset(tmp_path / "lapa", count=60, seed=3, size=96, workers=2)


def test_few_labels_leave_ignored_pixels_ignored(tmp_path: Path):
    """Pillow writes palettes of 16 colours in 4 bits, in which 255 is 15."""
    hair = Label("hair", (1, 1, 1), ("hair",))
    few = LabelSet("few", (Label("background", (0, 0, 0), ("background",)), hair))
    write_dataset(tmp_path / "few", count=10, seed=3, size=64, workers=1, labels=few)
    values = {int(value) for mask in masks(tmp_path / "few/train") for value in np.unique(mask)}
    assert values == {0, 1, 255}


def test_accessories_come_as_often_as_asked_and_all_else_as_before():
    usual, often = (plan_traits(200, np.random.default_rng(0), accessories=times) for times in (1, 3))
    counts = [sum(traits.hat for traits in each) for each in (usual, often)]
    assert counts[0] in (10, 11)
    assert counts[1] in (31, 32)
    assert sum(traits.earring for traits in often) == 100
    assert sum(traits.open_mouth for traits in often) == sum(traits.open_mouth for traits in usual) == 114


def test_another_share_of_accessories_in_a_begun_folder_is_refused(tmp_path: Path):
    write_dataset(tmp_path, count=10, seed=1, size=64, workers=1)
    with pytest.raises(InputError, match="accessories"):
        write_dataset(tmp_path, count=10, seed=1, size=64, workers=1, accessories=2)
    with pytest.raises(InputError, match="--accessories 11"):
        write_dataset(tmp_path / "new", count=10, seed=1, size=64, accessories=11)


def test_a_set_without_roles_can_not_be_drawn(tmp_path: Path):
    plain = LabelSet("plain", (Label("a", (0, 0, 0)), Label("b", (1, 1, 1))))
    with pytest.raises(InputError, match="names no roles of a face"):
        write_dataset(tmp_path / "plain", count=10, seed=0, labels=plain)
