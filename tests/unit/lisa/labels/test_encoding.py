import re
from pathlib import Path

import numpy as np
import pytest
from encoding_helpers import inverse_table
from hypothesis import given
from hypothesis import strategies as st

from lisa.errors import InputError
from lisa.labels import BUILT_IN, IGNORE_INDEX, read_label_set
from lisa.labels.encoding import UNKNOWN, Encoding, read_encoding


def read(text: str, labels: str = "celebamask") -> Encoding:
    return read_encoding(text, read_label_set(labels))


@pytest.mark.parametrize("name", BUILT_IN)
def test_without_a_text_the_ids_are_the_sets_own(name: str):
    table = read("", name).table()
    count = len(read_label_set(name))
    assert table[:count].tolist() == list(range(count))
    assert set(table[count:255].tolist()) == {UNKNOWN}
    assert table[255] == IGNORE_INDEX
    assert read(name, name).table().tolist() == table.tolist()


def test_face_parsing_order():
    table = read("Face-Parsing.PyTorch").table()
    assert table[:19].tolist() == [0, 1, 6, 7, 4, 5, 3, 8, 9, 15, 2, 10, 11, 12, 17, 16, 18, 13, 14]


def test_nineteen_labels_become_eleven():
    found = read("celebamask-hq", "lapa")
    lapa = read_label_set("lapa")
    # background, skin, nose, glasses -> skin, the person's left eye is LaPa's right_eye, ...
    expected = [0, 1, 6, 1, 5, 4, 3, 2, 0, 0, 8, 7, 9, 10, 0, 0, 0, 0, 0]
    assert found.table()[:19].tolist() == expected
    assert found.missing == ()
    assert lapa.names[5] == "right_eye"


def test_what_has_no_counterpart_is_ignored_and_told():
    found = read("celebamask-hq", "face-synthetics")
    assert found.ignored == ("ear_r",)
    assert found.table()[15] == IGNORE_INDEX
    assert found.missing == ("beard", "facewear")


def test_what_may_be_several_labels_is_refused_with_a_remedy_that_works():
    with pytest.raises(InputError, match=re.escape("background of lapa may be background, l_ear")) as raised:
        read("lapa")
    assert str(raised.value).endswith("--data.encoding lapa,0=background,1=skin, or ignore for any of them")
    found = read("lapa,0=ignore,1=skin")
    assert found.table()[:11].tolist() == [255, 1, 7, 6, 5, 4, 2, 11, 10, 12, 13]


def test_own_ids(tmp_path: Path):
    written = "0=background, 1=skin, 13=ignore, 14=skin"
    (tmp_path / "mine.toml").write_text('[ids]\n0 = "background"\n1 = "skin"\n13 = "ignore"\n14 = "skin"\n')
    for text in (written, str(tmp_path / "mine.toml")):
        found = read(text)
        table = found.table()
        assert {index: int(table[index]) for index in (0, 1, 2, 13, 14)} == {
            0: 0,
            1: 1,
            2: UNKNOWN,
            13: 255,
            14: 1,
        }
        assert inverse_table(found)[[0, 1, 2]].tolist() == [0, 1, UNKNOWN]
    assert read("skin,background").table()[:2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine", "no known order"),
        ("0=background,1", "'1' should be an id and a label"),
        ("0=background,1=", "id 1 has no label"),
        ("0=background,1=face", "id 1 is 'face', which is no label of celebamask"),
        ("0=background,0=skin", "id 0 comes twice"),
        ("0=background,256=skin", "'256' is no id"),
        ("x=background,1=skin", "'x' is no id"),
        ("skin,skin", "skin more than once"),
        ("no.toml", "No such file"),
    ],
)
def test_a_bad_encoding_is_one_line(text: str, message: str):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        read(text)
    assert "\n" not in str(raised.value)


@given(
    st.sampled_from(BUILT_IN).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.dictionaries(
                st.integers(0, 254), st.sampled_from((*read_label_set(name).names, "ignore")), min_size=2
            ),
        )
    )
)
def test_any_ids_become_their_labels_and_back(drawn: tuple[str, dict[int, str]]):
    labels, ids = drawn
    found = read(",".join(f"{index}={name}" for index, name in ids.items()), labels)
    table, inverse = found.table(), inverse_table(found)
    for index in range(255):
        expected = {None: UNKNOWN, "ignore": IGNORE_INDEX}.get(ids.get(index))
        assert table[index] == (found.labels.ids[ids[index]] if expected is None else expected)
    for index, name in enumerate(found.labels.names):
        assert (name in found.missing) == (name not in ids.values())
        # A mask may use the number of UNKNOWN as an id.
        assert inverse[index] == UNKNOWN if name in found.missing else table[inverse[index]] == index
    assert table[IGNORE_INDEX] == inverse[IGNORE_INDEX] == IGNORE_INDEX


@pytest.mark.parametrize("labels", BUILT_IN)
@pytest.mark.parametrize("order", ["", "celebamask-hq", "face-parsing.pytorch"])
def test_encode_then_decode_is_the_identity(labels: str, order: str):
    found = read(order, labels)
    ids = np.array(
        [index for index, name in enumerate(found.labels.names) if name not in found.missing], np.uint8
    )
    assert found.table()[inverse_table(found)[ids]].tolist() == ids.tolist()
