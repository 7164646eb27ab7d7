"""What a split's masks are refused for, before any training, and the remedies that are named."""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoding_helpers import FACE_PARSING, encoding, inverse_table
from PIL import Image

from lisa.data.checking import Checked, check_pairs, look_at
from lisa.data.layouts import layout_of
from lisa.data.mask_checks import RIMMED, rim_share
from lisa.data.mask_sets import KNOWN, judge, judged_order
from lisa.data.pairs import Pair
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.labels import IDS, NAMES, PALETTE, Label, LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import OWN_IDS, read_encoding

REAL = Path(__file__).resolve().parents[4].parent / "shared" / "celebamask_mini"
SIDE = 96
LAPA_OPTION = "--data.encoding lapa,0=background,1=skin"
LAPA = "background,skin,r_brow,l_brow,r_eye,l_eye,nose,u_lip,mouth,l_lip,hair"
FACE_SYNTHETICS = (
    "background", "skin", "nose", "r_eye", "l_eye", "r_brow", "l_brow", "r_ear", "l_ear", "mouth", "u_lip",
    "l_lip",
    "neck", "hair", "", "cloth", "eye_g", "hat",
)  # fmt: skip
FLIP = CELEBAMASK.flip_table()
COLORS = np.array(PALETTE, np.int64).reshape(-1, 3)
Resampling = Image.Resampling
Ids = np.ndarray


@pytest.fixture(scope="module")
def faces() -> list[Ids]:
    return [draw_face(seed, SIDE)[1] for seed in range(24)]


def write(folder: Path, masks: list[Ids] | list[Image.Image]) -> list[Pair]:
    pairs: list[Pair] = []
    for number, mask in enumerate(masks):
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        pair = Pair(folder / f"{number}.jpg", folder / f"{number}.png")
        image.save(pair.mask)
        Image.new("RGB", image.size, (number, 0, 0)).save(pair.image)
        pairs.append(pair)
    return pairs


def check(folder: Path, masks: list[Ids] | list[Image.Image], text: str = "") -> Checked:
    pairs = [pair._replace(encoding=encoding(text)) for pair in write(folder, masks)]
    return check_pairs(pairs)


def refusal(folder: Path, masks: list[Ids] | list[Image.Image]) -> str:
    with pytest.raises(InputError) as caught:
        check(folder, masks)
    return str(caught.value)


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


def test_one_binary_mask_among_label_maps_is_named(faces: list[Ids], tmp_path: Path):
    message = refusal(tmp_path, [*faces[:9], face(faces[9]) * np.uint8(255)])
    assert "1 of 10 pairs can't be used" in message
    assert f"{tmp_path / '9.png'}: no values but 0 and 255" in message


def through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def nearest_labels(image: Image.Image) -> Ids:
    distance = ((np.asarray(image).astype(np.int64)[:, :, None] - COLORS) ** 2).sum(-1)
    return distance.argmin(-1).astype(np.uint8)


SPOILT: dict[str, Callable[[Ids], Ids]] = {
    "jpeg 75": lambda ids: np.asarray(through_jpeg(Image.fromarray(ids), 75)).clip(0, 18),
    "jpeg 95": lambda ids: np.asarray(through_jpeg(Image.fromarray(ids), 95)).clip(0, 18),
    "bilinear": lambda ids: np.asarray(Image.fromarray(ids).resize((70, 70), Resampling.BILINEAR)),
    "bilinear, larger": lambda ids: np.asarray(Image.fromarray(ids).resize((192, 192), Resampling.BILINEAR)),
    "lanczos": lambda ids: np.asarray(Image.fromarray(ids).resize((70, 70), Resampling.LANCZOS)).clip(0, 18),
    "colours resized": lambda ids: nearest_labels(
        Image.fromarray(COLORS.astype(np.uint8)[ids]).resize((70, 70), Resampling.BILINEAR)
    ),
    "colours through jpeg": lambda ids: nearest_labels(
        through_jpeg(Image.fromarray(COLORS.astype(np.uint8)[ids]), 90)
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_rims_of_foreign_ids_are_seen(faces: list[Ids], kind: str, tmp_path: Path):
    shares = [rim_share(SPOILT[kind](ids)) for ids in faces]
    assert min(shares) > RIMMED
    (pair,) = write(tmp_path, [SPOILT[kind](faces[0])])
    fault = look_at(pair).fault
    assert fault is not None
    assert (fault.kind, fault.file) == ("rims", pair.mask)
    assert "nearest neighbour" in fault.detail


@pytest.mark.parametrize("side", [64, 96, 192])
def test_true_masks_have_few_rims_at_any_size(faces: list[Ids], side: int):
    shares = [
        rim_share(np.asarray(Image.fromarray(ids).resize((side, side), Resampling.NEAREST))) for ids in faces
    ]
    assert max(shares) < RIMMED


def test_rims_count_thin_runs_between_different_labels():
    ids = np.zeros((200, 100), np.uint8)
    assert rim_share(ids) == 0
    ids[:, 50:] = 13
    assert rim_share(ids) == 0
    ids[:, 50] = 6
    assert rim_share(ids) == pytest.approx(0.5)  # of two borders a row, one begins a rim
    ids[:, 50] = 255
    assert rim_share(ids) == 0, "ignored pixels are no rim"


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
