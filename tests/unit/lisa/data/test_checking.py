"""What a split's masks are refused for, before any training, and the remedies that are named."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoding_helpers import FACE_PARSING, encoding, inverse_table
from PIL import Image
from split_helpers import COLORS, Ids, check, drawn_masks, refusal, write

from lisa.data.checking import check_pairs, look_at
from lisa.data.layouts import layout_of
from lisa.data.mask_checks import RIMMED, rim_share
from lisa.data.mask_sets import KNOWN, judge, judged_order
from lisa.errors import InputError
from lisa.labels import IDS, NAMES, Label, LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import OWN_IDS, read_encoding

REAL = Path(__file__).resolve().parents[4].parent / "shared" / "celebamask_mini"
LAPA_OPTION = "--data.encoding lapa,0=background,1=skin"
LAPA = "background,skin,r_brow,l_brow,r_eye,l_eye,nose,u_lip,mouth,l_lip,hair"
FACE_SYNTHETICS = (
    "background", "skin", "nose", "r_eye", "l_eye", "r_brow", "l_brow", "r_ear", "l_ear", "mouth", "u_lip",
    "l_lip",
    "neck", "hair", "", "cloth", "eye_g", "hat",
)  # fmt: skip
FLIP = CELEBAMASK.flip_table()


@pytest.fixture(scope="module")
def faces() -> list[Ids]:
    return drawn_masks()


def in_order(ids: Ids, order: str) -> Ids:
    """Labels that the order lacks become background."""
    table = inverse_table(encoding(order))
    return np.where(table == 254, 0, table).astype(np.uint8)[ids]


def in_face_synthetics(ids: Ids) -> Ids:
    table = np.zeros(256, np.uint8)
    for theirs, name in enumerate(FACE_SYNTHETICS):
        if name:
            table[IDS[name]] = theirs
    return table[ids]


def face(ids: Ids) -> Ids:
    return (ids > 0) & (ids < 14)


def stretched(ids: Ids) -> Ids:
    return np.round(ids * (255 / 18)).astype(np.uint8)


SPLITS: dict[str, tuple[Callable[[Ids], Any], str]] = {
    "all background": (np.zeros_like, "every pixel is background"),
    "all ignored": (lambda ids: np.full_like(ids, 255), r"every pixel is 255 \(ignored\)"),
    "0 and 255": (lambda ids: face(ids) * np.uint8(255), "no value but 0 and 255: masks of a face"),
    "0 and 255 inverted": (lambda ids: ~face(ids) * np.uint8(255), "no value but 0 and 255"),
    "one bit": (lambda ids: Image.fromarray(face(ids)), "no value but 0 and 255"),
    "0 and 1": (lambda ids: face(ids).astype(np.uint8), "0 and 1.*--data.encoding 0=background,1=skin$"),
    "1 and 2": (lambda ids: face(ids) + np.uint8(1), "no value but 1 and 2"),
    "all 1": (np.ones_like, "no value but 1"),
    "one too high": (
        lambda ids: ids + np.uint8(1),
        r"one too high \(1 to 1[89], .*subtract 1 from each mask and keep 255 as it is$",
    ),
    "one too low": (lambda ids: ids - np.uint8(1), "one too low .*add 1 to each mask"),
    "times 10": (lambda ids: ids * np.uint8(10), r"multiplied by 10 \(0, 10, 20, 30, ...\): divide"),
    "times 13": (lambda ids: ids * np.uint8(13), "multiplied by 13 "),
    "times 14": (lambda ids: ids * np.uint8(14), "multiplied by 14 "),
    "stretched": (stretched, "multiplied by 14.17 .*round"),
    "times 257": (lambda ids: Image.fromarray(ids.astype(np.uint16) * np.uint16(257)), "multiplied by 257"),
    "face-parsing": (lambda ids: in_order(ids, FACE_PARSING), f"give --data.encoding {FACE_PARSING}$"),
    "LaPa": (lambda ids: in_order(ids, LAPA), f"LaPa.*: train with --labels lapa, or .* by {LAPA_OPTION}$"),
    "LaPa times 20": (lambda ids: in_order(ids, LAPA) * np.uint8(20), f"multiplied by 20 .*{LAPA_OPTION}$"),
    "FaceSynthetics": (in_face_synthetics, "FaceSynthetics.*: train with --labels face-synthetics, or"),
    "left and right": (
        lambda ids: FLIP[ids],
        "left and right are exchanged.*: give --data.encoding background,skin,nose,eye_g,r_eye,l_eye,",
    ),
    "left and right in colours": (
        lambda ids: Image.fromarray(COLORS.astype(np.uint8)[FLIP[ids]]),
        "left and right are exchanged.*: save the ids as 8-bit grey, and give --data.encoding background,",
    ),
    "some order": (
        lambda ids: np.array([0, 1, *np.random.default_rng(5).permutation(np.arange(2, 19))], np.uint8)[ids],
        "another label order: .* in only .*; say which id is which",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPLITS)
def test_masks_that_are_no_label_maps_are_refused_with_what_to_do(
    faces: list[Ids], kind: str, tmp_path: Path
):
    change, words = SPLITS[kind]
    message = refusal(tmp_path, [change(ids) for ids in faces])
    assert message.startswith(f"{tmp_path}: ")
    assert "\n" not in message, "one message, not one for each mask"
    assert re.search(words, message), message


@pytest.mark.parametrize("kind", ["face-parsing", "LaPa", "left and right"])
def test_a_hint_that_is_obeyed_gives_the_true_labels(faces: list[Ids], kind: str, tmp_path: Path):
    masks = [SPLITS[kind][0](ids) for ids in faces]
    order = refusal(tmp_path, masks).rsplit(" ", 1)[1]
    checked = check(tmp_path, masks, order)
    table = encoding(order).table()
    named = table[masks[0]]
    kept = np.isin(faces[0], np.unique(table[: len(NAMES)]))
    assert np.array_equal(named[kept], faces[0][kept])
    assert checked.class_counts[IDS["nose"]] == sum((ids == IDS["nose"]).sum() for ids in faces)


@pytest.mark.parametrize("shift", [1, -1], ids=["one too high", "one too low"])
def test_a_shift_that_is_undone_as_told_gives_the_true_labels(faces: list[Ids], shift: int, tmp_path: Path):
    """Pixels of 255 among them."""
    spoilt = [np.where(ids == IDS["eye_g"], 255, ids.astype(int) + shift).astype(np.uint8) for ids in faces]
    assert "keep 255 as it is" in refusal(tmp_path, spoilt)
    mended = [np.where(ids == 255, 255, ids.astype(int) - shift).astype(np.uint8) for ids in spoilt]
    checked = check(tmp_path, mended)
    assert checked.class_counts[IDS["skin"]] == sum((ids == IDS["skin"]).sum() for ids in faces)


def test_masks_of_nothing_and_of_what_is_ignored_are_refused(faces: list[Ids], tmp_path: Path):
    masks = [np.full_like(ids, 255 * (number % 2)) for number, ids in enumerate(faces)]
    assert "no value but 0 and 255" in refusal(tmp_path, masks)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize(
    "kind", ["one too high", "times 13", "face-parsing", "LaPa", "all ignored", "one bit"]
)
def test_small_splits_are_checked_as_well(faces: list[Ids], kind: str, count: int, tmp_path: Path):
    change, words = SPLITS[kind]
    message = refusal(tmp_path, [change(ids) for ids in faces[:count]])
    assert re.search(words, message), message


def test_too_few_masks_leave_left_and_right_to_the_user(faces: list[Ids], tmp_path: Path):
    """Of single faces 7 % are labelled the wrong way: their sides prove nothing."""
    message = refusal(tmp_path, [in_order(FLIP[ids], LAPA) for ids in faces[:3]])
    assert "LaPa" in message
    assert "compare one with its picture" in message
    message = refusal(tmp_path, [FLIP[ids] + np.uint8(1) for ids in faces[:3]])
    assert re.search("one too high .*subtract 1 .*; the masks look .*compare one with its picture", message)


def test_label_maps_pass(faces: list[Ids], tmp_path: Path):
    checked = check(tmp_path, faces)
    assert checked.notes == ()
    assert checked.class_counts.tolist() == np.bincount(np.concatenate(faces).ravel(), minlength=19).tolist()
    for count in (1, 2, 5):
        check(tmp_path, faces[:count])


def test_faces_that_lie_or_hang_pass(faces: list[Ids]):
    for turns in (1, 2, 3):
        assert judge([layout_of(np.rot90(ids, turns)) for ids in faces], OWN_IDS, False) is None


def test_two_classes_are_right_if_the_order_says_so(faces: list[Ids], tmp_path: Path):
    checked = check(tmp_path, [face(ids).astype(np.uint8) for ids in faces], "background,skin")
    assert checked.class_counts.nonzero()[0].tolist() == [0, 1]


def test_one_binary_mask_among_label_maps_is_named(faces: list[Ids], tmp_path: Path):
    message = refusal(tmp_path, [*faces[:9], face(faces[9]) * np.uint8(255)])
    assert "1 of 10 pairs can't be used" in message
    assert f"{tmp_path / '9.png'}: no values but 0 and 255" in message


def test_looks_travel_between_ranks(faces: list[Ids], tmp_path: Path):
    good, bad = write(tmp_path, [faces[0], np.full((9, 9), 77, np.uint8)])
    for pair in (good, bad):
        look = look_at(pair)._replace(decoded=None)
        assert pickle.loads(pickle.dumps(look)).fault == look.fault  # noqa: S301


def test_every_rank_raises_the_same(faces: list[Ids], tmp_path: Path):
    pairs = write(tmp_path, [in_order(ids, LAPA) for ids in faces])
    shares: list[Any] = []
    for rank in range(3):
        with pytest.raises(InputError):
            check_pairs(pairs, lambda look: (shares.append(look()), shares[-1:])[1], rank, 3)
    messages: set[str] = set()
    for rank in range(3):
        with pytest.raises(InputError) as caught:
            check_pairs(pairs, lambda _: shares, rank, 3)
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.skipif(not REAL.exists(), reason="no real masks here")
def test_real_masks_alone_or_together_give_no_false_alarm():
    masks = [np.asarray(Image.open(path)) for path in sorted((REAL / "val" / "masks").glob("*.png"))]
    layouts = [layout_of(ids) for ids in masks]
    assert judge(layouts, OWN_IDS, False) is None
    assert [each for each in layouts if judge([each], OWN_IDS, False)] == []
    assert max(map(rim_share, masks)) < RIMMED
    for order, option in ((FACE_PARSING, f"--data.encoding {FACE_PARSING}"), (LAPA, LAPA_OPTION)):
        verdict = judge([layout_of(in_order(ids, order)) for ids in masks], OWN_IDS, False)
        assert verdict is not None
        assert verdict.detail.endswith(option)


def three(*roles: str) -> LabelSet:
    labels = [Label(name, (0, index, 0), roles[index : index + 1]) for index, name in enumerate("xab")]
    return LabelSet("three", tuple(labels))


@pytest.mark.parametrize(("labels", "text", "refused"), [
    (three(), "", False),  # has no parts of a face
    (three("background", "hair", "skin"), "", True),
    (three("background", "hair", "skin"), "x,a,b", False),
])  # fmt: skip
def test_a_split_that_lacks_a_label_is_no_binary_one(
    labels: LabelSet, text: str, refused: bool, tmp_path: Path
):
    pairs = write(tmp_path, [np.eye(16, dtype=np.uint8)] * 2)
    pairs = [pair._replace(encoding=read_encoding(text, labels)) for pair in pairs]
    if refused:
        with pytest.raises(InputError, match=r"say what they are: --data\.encoding x,a,b$"):
            check_pairs(pairs)
    else:
        check_pairs(pairs)


PERSON = ("clothing", "neck", "hair", "hat", "left_ear", "right_ear", "earrings", "necklace")
EASY_PORTRAIT = (
    ("background",), PERSON, ("skin", "glasses"), ("left_brow",), ("right_brow",), ("left_eye",),
    ("right_eye",), ("upper_lip", "lower_lip"), ("mouth",), ("nose",),
)  # fmt: skip


@pytest.mark.parametrize("turn", range(len(PERSON)))
def test_the_order_of_a_labels_roles_judges_no_mask(faces: list[Ids], turn: int):
    """A person without the face is hair more often than clothing: its middle is above the skin's."""
    roles = [(*each[turn % len(each) :], *each[: turn % len(each)]) for each in EASY_PORTRAIT]
    labels = tuple(Label(f"label{index}", (index, 0, 0), each) for index, each in enumerate(roles))
    pairs = (("label3", "label4"), ("label5", "label6"))
    own = read_encoding("", LabelSet("easy-portrait", labels, pairs))
    table = read_encoding("celebamask-hq", own.labels).table()
    assert judge([layout_of(table[ids]) for ids in faces], own, False) is None
    assert judged_order(own)[2] == "skin"
    assert 1 not in judged_order(own)
    exchanged = np.array([0, 1, 9, 3, 4, 5, 6, 7, 8, 2], np.uint8)
    verdict = judge([layout_of(exchanged[table[ids]]) for ids in faces], own, False)
    assert verdict is not None, "the skin is judged still: here it is the nose"
    assert verdict.kind == "label-order"


@pytest.mark.parametrize(("name", "eye"), [("celebamask", "l_eye"), ("lapa", "right_eye")])
def test_exchanged_sides_are_told_by_the_sets_own_names(faces: list[Ids], name: str, eye: str):
    """Left in LaPa's names is the picture's."""
    own = read_encoding("", read_label_set(name))
    table = read_encoding("celebamask-hq", own.labels).table()
    verdict = judge([layout_of(table[FLIP[ids]]) for ids in faces], own, False)
    assert verdict is not None
    assert f"in nearly all masks (the person's left eye is {eye}): give" in verdict.detail


@pytest.mark.parametrize("name", ["lapa", "face-synthetics"])
def test_built_in_sets_are_judged_by_all_their_labels(name: str):
    assert judged_order(read_encoding("", read_label_set(name))) == dict(enumerate(KNOWN[name]))
