"""The arrangement: places and spreads of the parts in training masks, by role; or why there are none."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa.data.arrangement import measure_arrangement, part_ids
from lisa.data.pairs import Pair
from lisa.errors import InputError
from lisa.labels import LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import read_encoding

PLACES = {5: (0.38, 0.48), 4: (0.62, 0.48), 7: (0.37, 0.42), 6: (0.63, 0.42), 2: (0.5, 0.58), 12: (0.5, 0.75)}
SIDE = 100


def write_masks(folder: Path, count: int, spread: float = 0.0, swapped: int = 0) -> list[Pair]:
    """Masks with a 5x5 square at each part's place, of which the first ``swapped`` have eyes exchanged."""
    rng, pairs = np.random.default_rng(0), list[Pair]()
    for index in range(count):
        ids = np.zeros((SIDE, SIDE), np.uint8)
        dx, dy = rng.normal(0, spread * SIDE, 2) if spread else (0, 0)
        for label, (x, y) in PLACES.items():
            if index < swapped and label in (4, 5):
                label = 9 - label
            left, top = round(x * SIDE + dx) - 2, round(y * SIDE + dy) - 2
            ids[top : top + 5, left : left + 5] = label
        path = folder / f"{index}.png"
        Image.fromarray(ids).save(path)
        pairs.append(Pair(path, path))
    return pairs


def test_places_and_areas_are_the_masks(tmp_path: Path):
    found = measure_arrangement(write_masks(tmp_path, 12), CELEBAMASK)
    parts = {part["name"]: part for part in found["parts"]}
    assert list(parts)[:2] == ["left_eye", "right_eye"]
    assert list(parts)[-1] == "glasses"
    assert parts["left_eye"]["ids"] == [5]
    assert parts["left_eye"]["mean"] == pytest.approx([0.385, 0.485])
    assert parts["mouth"]["mean"] == pytest.approx([0.505, 0.755])
    assert parts["mouth"]["ids"] == [10, 11, 12]
    assert parts["nose"]["area"] == pytest.approx(0.0025)
    assert np.array(parts["nose"]["covariance"]).max() < 1e-5
    assert parts["glasses"]["mean"] == pytest.approx([0.505, 0.485]), "where the eyes are, for want of any"
    assert found["masks"] == 12
    assert 13 not in found["face_ids"]


def test_a_few_exchanged_eyes_do_not_count(tmp_path: Path):
    found = measure_arrangement(write_masks(tmp_path, 40, 0.01, swapped=3), CELEBAMASK)
    (eye,) = (part for part in found["parts"] if part["name"] == "left_eye")
    assert eye["mean"][0] == pytest.approx(0.385, abs=0.01)
    assert np.sqrt(eye["covariance"][0][0]) == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("coarse", "label set coarse has no label of its own for left eye, right eye, mouth"),
        ("celebamask", "too few of its training masks show left eye, right eye, mouth"),
    ],
)
def test_why_there_is_none(labels: str, reason: str, tmp_path: Path):
    pairs = write_masks(tmp_path, 3)
    chosen = read_label_set(labels)
    if labels == "coarse":
        pairs = [Pair(pair.image, pair.mask, read_encoding("celebamask-hq", chosen)) for pair in pairs]
    assert measure_arrangement(pairs, chosen) == {"reason": reason}


def test_faces_that_are_not_aligned(tmp_path: Path):
    found = measure_arrangement(write_masks(tmp_path, 30, 0.13), CELEBAMASK)
    assert found["reason"].startswith("its training faces are not aligned: their eyes' places spread by 0.1")


@pytest.mark.parametrize("name", ["celebamask", "lapa", "face-synthetics"])
def test_parts_go_by_role_and_not_by_name(name: str):
    labels = read_label_set(name)
    ids = part_ids(labels)
    assert {"left_eye", "right_eye", "mouth", "nose", "left_brow"} <= set(ids)
    assert labels.labels[ids["left_eye"][0]].roles == ("right_eye",), "left as seen is the person's right"
    assert ("glasses" in ids) == (name != "lapa"), "LaPa's skin covers glasses too"


def test_a_damaged_mask_is_named(tmp_path: Path):
    pairs = write_masks(tmp_path, 6)
    pairs[2].mask.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"2\.png"):
        measure_arrangement(pairs, CELEBAMASK)


def test_a_set_of_two_labels():
    labels = LabelSet.from_dict(
        {"name": "two", "labels": {"background": {"color": [0, 0, 0]}, "hair": {"color": [1, 2, 3]}}}, "here"
    )
    assert part_ids(labels) == {}
