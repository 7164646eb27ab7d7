"""Masks that are read by their colours, and those in the colours of another set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from split_helpers import COLORS, Ids, check, drawn_masks, refusal, write

from lisa.data.checking import check_pairs
from lisa.labels import NAMES, read_label_set
from lisa.labels.encoding import read_encoding


@pytest.fixture(scope="module")
def faces() -> list[Ids]:
    return drawn_masks()


def test_masks_read_by_colour_are_noted(faces: list[Ids], tmp_path: Path):
    images = [Image.fromarray(ids) for ids in faces]
    images[:2] = [Image.fromarray(COLORS.astype(np.uint8)[ids]) for ids in faces[:2]]
    order = np.random.default_rng(0).permutation(len(NAMES))  # as an optimiser renumbers a palette
    images[2] = Image.fromarray(order.argsort().astype(np.uint8)[faces[2]], mode="P")
    images[2].putpalette(COLORS[order].astype(np.uint8).tobytes())
    checked = check(tmp_path, images)
    assert "3 of 24 masks were read by their colours" in checked.notes[0]
    assert checked.class_counts.tolist() == np.bincount(np.concatenate(faces).ravel(), minlength=19).tolist()


def colored(ids: Ids, name: str) -> Image.Image:
    """The nineteen labels in the colours of a built-in set."""
    labels = read_label_set(name)
    colors = np.array([label.color for label in labels.labels], np.uint8)
    return Image.fromarray(colors[read_encoding("celebamask-hq", labels).table()[ids]])


def test_a_split_in_the_colours_of_another_set_is_refused(faces: list[Ids], tmp_path: Path):
    """Eyes of coarse would be trained as the mouth, whose colour they have."""
    masks = [colored(ids, "coarse") for ids in faces]
    absent = "nose, eye_g, l_eye, r_eye, l_brow, r_brow, l_ear, r_ear, u_lip, l_lip, ear_r, neck_l, neck"
    told = refusal(tmp_path, masks)
    assert f"of label set coarse, and {absent} of celebamask never come: train with --labels coarse;" in told
    assert "\n" not in told
    own = [
        pair._replace(encoding=read_encoding("", read_label_set("coarse"))) for pair in write(tmp_path, masks)
    ]
    assert len(check_pairs(own).notes) == 1


def test_a_split_in_the_colours_of_a_set_with_fewer_labels_is_told(faces: list[Ids], tmp_path: Path):
    """LaPa's labels are read as what they are; narrow cuts of our own faces have no others either."""
    absent = "eye_g, l_ear, r_ear, hat, ear_r, neck_l, neck, cloth"
    notes = check(tmp_path, [colored(ids, "lapa") for ids in faces]).notes
    assert f"of label set lapa, and {absent} of celebamask never come: train with --labels lapa" in notes[1]


def test_a_few_masks_by_colour_among_ids_tell_nothing_of_the_split(faces: list[Ids], tmp_path: Path):
    few = np.array([0, 1, *[1] * 9, 11, 11, 13, 14, *[1] * 3, 18], np.uint8)
    masks = [Image.fromarray(few[ids]) for ids in faces]
    for index in range(9):
        masks[index] = colored(few[faces[index]], "celebamask")
    assert len(check(tmp_path, masks).notes) == 1


def test_a_set_in_its_own_colours_lacks_labels_that_another_set_lacks_too(faces: list[Ids], tmp_path: Path):
    """Few masks, and masks of few labels, are no proof of another set: nothing is refused."""
    check(tmp_path, [colored(ids, "celebamask") for ids in faces])
    check(tmp_path, [colored(ids, "lapa") for ids in faces[:9]])
    few = np.array([0, 1, *[1] * 9, 11, 11, 13, *[0] * 5], np.uint8)
    check(tmp_path, [colored(few[ids], "celebamask") for ids in faces])
