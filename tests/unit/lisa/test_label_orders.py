import numpy as np
import pytest

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
)
from lisa.labels import IDS


def test_face_parsing_order_maps_by_name():
    table = lookup_table(FACE_PARSING)
    assert table[17] == IDS["hair"]
    assert table[10] == IDS["nose"]
    assert table[2] == IDS["l_brow"]
    assert table[0] == 0
    assert table[255] == 255
    assert set(table[19:255].tolist()) == {UNKNOWN}


@pytest.mark.parametrize("order", [*ORDERS, "hair,skin,background", "Face-Parsing.PyTorch", "zllrunning"])
def test_table_and_inverse_undo_each_other(order: str):
    ids = np.arange(len(label_names(order)), dtype=np.uint8)
    assert np.array_equal(inverse_table(order)[lookup_table(order)[ids]], ids)
    assert inverse_table(order)[255] == 255


def test_old_names_of_orders_are_read():
    assert label_names("zllrunning") == label_names("face-parsing.pytorch")
    assert label_names("celebamask") == label_names("celebamask-hq")


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
