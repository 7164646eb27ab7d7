from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.label_orders import (
    CELEBAMASK,
    FACE_PARSING,
    ORDERS,
    UNKNOWN,
    convert,
    inverse_table,
    label_names,
    lookup_table,
    order_hint,
)
from lisa.labels import IDS

REAL = Path(__file__).resolve().parents[3].parent / "shared" / "celebamask_mini"


def counts_of(masks: list[np.ndarray]) -> np.ndarray:
    return np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=256)


@pytest.fixture(scope="module")
def synthetic_counts() -> np.ndarray:
    return counts_of([draw_face(seed, 64)[1] for seed in range(30)])


def test_face_parsing_order_maps_by_name():
    table = lookup_table(FACE_PARSING)
    assert table[17] == IDS["hair"]
    assert table[10] == IDS["nose"]
    assert table[2] == IDS["l_brow"]
    assert table[0] == 0
    assert table[255] == 255
    assert set(table[19:255].tolist()) == {UNKNOWN}


@pytest.mark.parametrize("order", [*ORDERS, "hair,skin,background", "Face-Parsing.PyTorch"])
def test_table_and_inverse_undo_each_other(order: str):
    ids = np.arange(len(label_names(order)), dtype=np.uint8)
    assert np.array_equal(inverse_table(order)[lookup_table(order)[ids]], ids)
    assert inverse_table(order)[255] == 255


def test_own_order_is_the_identity():
    assert np.array_equal(lookup_table(CELEBAMASK)[:19], np.arange(19))


def test_names_may_come_as_a_sequence_or_in_one_string():
    assert label_names("background, hair ,skin") == label_names(["background", "hair", "skin"])


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ("bisenet", "bisenet"),
        (["background", "skin", "moustache"], "moustache"),
        ("background,skin,skin", "skin more than once"),
    ],
)
def test_bad_orders_are_named(order: str | list[str], problem: str):
    with pytest.raises(InputError, match=problem):
        lookup_table(order)


def test_ids_without_a_name_are_refused():
    mask = np.array([[0, 1, 2], [7, 255, 0]], np.uint8)
    with pytest.raises(InputError, match="7"):
        convert(mask, lookup_table(["background", "skin", "hair"]))


def test_convert_keeps_the_ignore_index():
    mask = np.array([[0, 17, 255]], np.uint8)
    assert convert(mask, lookup_table(FACE_PARSING)).tolist() == [[0, IDS["hair"], 255]]


def test_right_order_gets_no_hint(synthetic_counts: np.ndarray):
    assert order_hint(synthetic_counts) is None
    swapped = np.zeros(256)
    swapped[inverse_table(FACE_PARSING)[:19]] = synthetic_counts[:19]
    assert order_hint(swapped, FACE_PARSING) is None


def test_the_other_known_order_is_recognised(synthetic_counts: np.ndarray):
    swapped = np.zeros(256)
    swapped[inverse_table(FACE_PARSING)[:19]] = synthetic_counts[:19]
    assert FACE_PARSING in (order_hint(swapped) or "")
    assert CELEBAMASK in (order_hint(synthetic_counts, FACE_PARSING) or "")


def test_skin_that_is_not_the_largest_face_region_gives_a_hint(synthetic_counts: np.ndarray):
    odd = synthetic_counts.copy()
    odd[[1, 6]] = odd[[6, 1]]
    assert "id 6" in (order_hint(odd) or "")


@pytest.mark.parametrize("seed", range(20))
def test_single_faces_raise_no_false_alarm(seed: int):
    assert order_hint(counts_of([draw_face(seed, 64)[1]])) is None


def test_empty_masks_are_no_reason_for_a_hint():
    assert order_hint(np.zeros(19)) is None
    assert order_hint([1000] + [0] * 18) is None
    assert order_hint([500, 500], ["background", "hair"]) is None  # a set without skin has no largest part
    assert order_hint([500, 300, 200], ["background", "nose", "mouth"]) is None


@pytest.mark.skipif(not REAL.exists(), reason="no real masks here")
def test_real_masks_get_no_hint_and_are_recognised_in_the_other_order():
    masks = [np.asarray(Image.open(path)) for path in sorted((REAL / "val" / "masks").glob("*.png"))[:40]]
    assert order_hint(counts_of(masks)) is None
    other = [inverse_table(FACE_PARSING)[mask] for mask in masks]
    assert FACE_PARSING in (order_hint(counts_of(other)) or "")
    alarms = sum(order_hint(counts_of([mask])) is not None for mask in masks)
    assert alarms == 0
