import json
import re
from pathlib import Path
from typing import Any

import pytest

from lisa import labels as contract
from lisa.errors import InputError
from lisa.labels import BUILT_IN, LabelSet, read_label_set, stored_label_set
from lisa.labels.roles import ROLES
from lisa.labels.sides import other_sides


def eyes(**changes: Any) -> dict[str, Any]:
    return {
        "name": "eyes",
        "pairs": [["left", "right"]],
        "labels": {
            "rest": {"color": [0, 0, 0], "roles": ["background", "skin"]},
            "left": {"color": [0, 0, 9], "roles": ["left_eye"]},
            "right": {"color": [9, 0, 0], "roles": ["right_eye"]},
        },
        **changes,
    }


def test_celebamask_is_the_contract_to_the_byte():
    found = read_label_set("celebamask")
    assert found.names == (
        "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
        "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
    )  # fmt: skip
    assert found.palette == contract.PALETTE
    assert found.palette[:12] == (0, 0, 0, 204, 0, 0, 76, 153, 0, 204, 204, 0)
    assert found.palette[-3:] == (0, 204, 0)
    assert found.flip_pairs == ((4, 5), (6, 7), (8, 9))
    assert found.by_role["lower_lip"] == 12
    assert found.by_role["left_eye"] == 4


@pytest.mark.parametrize(("name", "count"), [("lapa", 11), ("face-synthetics", 19), ("coarse", 6)])
def test_built_in_sets(name: str, count: int):
    found = read_label_set(name)
    assert len(found) == count
    assert found.by_role["background"] == 0
    mirrored = [role.replace("left", "x").replace("right", "left").replace("x", "right") for role in ROLES]
    for role, other in zip(ROLES, mirrored, strict=True):
        if role in found.by_role:  # the label of the left eye becomes that of the right eye
            assert found.flipped_ids[found.by_role[role]] == found.by_role[other]


def test_left_of_lapa_is_the_pictures():
    lapa = read_label_set("lapa")
    assert lapa.names[lapa.by_role["right_eye"]] == "left_eye"
    assert lapa.alone("nose") == 6
    assert lapa.alone("skin") is None, "it covers glasses too"
    assert lapa.alone("necklace") is None


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_set_survives_its_files(name: str, tmp_path: Path):
    found = read_label_set(name)
    (tmp_path / "a.toml").write_text(found.to_toml())
    (tmp_path / "b.json").write_text(json.dumps(found.to_dict(), sort_keys=True))
    assert read_label_set(str(tmp_path / "a.toml")) == found == read_label_set(str(tmp_path / "b.json"))


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"labels": {"rest": {"color": [0, 0, 0]}}, "pairs": []}, "1 label(s), a set has 2 to 64"),
    ({"labels": {f"a{i}": {"color": [i, 0, 0]} for i in range(65)}, "pairs": []}, "65 label(s)"),
    (
        {"labels": {"a": {"color": [1, 2, 3]}, "b": {"color": [1, 2, 3]}}, "pairs": []},
        "a and b have one colour: (1, 2, 3)",
    ),
    ({"pairs": [["left", "nose"]]}, "a pair names 'nose', which is no label of it"),
    ({"pairs": [["left", "left"]]}, "left is in the pairs twice"),
    ({"pairs": [["left"]]}, "pairs is a list of two names each"),
    ({"labels": {"a": {"color": [0, 0, 256]}, "b": {"color": [1, 2, 3]}}, "pairs": []}, "three of 0 to 255"),
    ({"labels": {"a": {}, "b": {"color": [1, 2, 3]}}, "pairs": []}, "a needs color = [R, G, B]"),
    (
        {"labels": {"a": {"color": [0, 0, 0], "roles": ["beak"]}, "b": {"color": [1, 2, 3]}}, "pairs": []},
        "a has role 'beak': one of background",
    ),
    (
        {
            "labels": {
                "a": {"color": [0, 0, 0], "roles": ["skin"]},
                "b": {"color": [1, 2, 3], "roles": ["skin"]},
            },
            "pairs": [],
        },
        "a and b have one role: skin",
    ),
    (
        {"labels": {"ignore": {"color": [0, 0, 0]}, "b": {"color": [1, 2, 3]}}, "pairs": []},
        "can't be a label",
    ),
    (
        {"labels": {"rest": {"color": [0, 0, 0]}, "глаз": {"color": [1, 2, 3]}}, "pairs": []},
        "'глаз' can't be a label's name: ASCII letters",
    ),
    (
        {"labels": [{"name": "a", "color": [0, 0, 0]}, {"color": [1, 2, 3]}], "pairs": []},
        "entry 1 of labels needs a name",
    ),
    (
        {
            "labels": {
                "a": {"color": [0, 0, 0]},
                "b": {"color": [1, 2, 3], "roles": ["background"]},
            },
            "pairs": [],
        },
        "b has the role background: put it first",
    ),
    ({"labels": {}}, "needs [labels]"),
    ({"name": ""}, "needs a name"),
    ({"colours": 1}, "'colours' is no field of a label set"),
]


def assert_refused_in_files_alone(values: dict[str, Any], told: str, folder: Path):
    """Whoever has an older network can't change what it says: its sides are pairs."""
    path = folder / "mine.json"
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"{told}.*: name them in pairs"):
        read_label_set(str(path))
    assert stored_label_set(values, "config.json").flipped_ids == (0, 2, 1)


@pytest.mark.parametrize("part", ["eye", "brow", "ear"])
def test_both_sides_of_a_part_are_a_pair(part: str, tmp_path: Path):
    labels = {
        "rest": {"color": [0, 0, 0]},
        "left": {"color": [0, 0, 9], "roles": [f"left_{part}"]},
        "right": {"color": [9, 0, 0], "roles": [f"right_{part}"]},
    }
    for pair in (["left", "right"], ["right", "left"]):
        assert LabelSet.from_dict(eyes(labels=labels, pairs=[pair]), "mine.toml").flipped_ids == (0, 2, 1)
    assert_refused_in_files_alone(
        eyes(labels=labels, pairs=[]), "left and right are left and right", tmp_path
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left_eye", "right_eye"),
        ("l_hand", "r_hand"),
        ("glove_left", "glove_right"),
        ("Left-arm", "Right-arm"),
        ("LeftEye", "RightEye"),
        ("eye_L", "eye_R"),
        ("LEFT_ARM", "RIGHT_ARM"),
        ("lefteye", "righteye"),
        ("browleft", "browright"),
    ],
)
def test_sides_by_name_alone_are_a_pair_too(one: str, other: str, tmp_path: Path):
    """A mirrored picture would teach each as the other."""
    labels = {name: {"color": [0, 0, index]} for index, name in enumerate(("rest", one, other))}
    assert LabelSet.from_dict(eyes(labels=labels, pairs=[[one, other]]), "mine.toml").flipped_ids == (0, 2, 1)
    assert_refused_in_files_alone(eyes(labels=labels, pairs=[]), f"{one} and {other} are left and", tmp_path)


def file_of(names: list[str], pairs: list[list[str]], folder: Path) -> str:
    labels = {name: {"color": [0, 0, index]} for index, name in enumerate(["rest", *names])}
    path = folder / "mine.json"
    path.write_text(json.dumps({"name": "mine", "pairs": pairs, "labels": labels}))
    return str(path)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([["left_eye", "left_brow"], ["right_eye", "right_brow"]], ("left_eye", "left_brow", "right_eye")),
        ([["a_l", "b_r"], ["a_r", "b_l"]], ("a_l", "b_r", "a_r")),
        ([["leye", "lbrow"], ["reye", "rbrow"]], ("leye", "lbrow", "reye")),
        ([["a_l", "nose"], ["a_r", "chin"]], ("a_l", "nose", "a_r")),
    ],
)
def test_a_side_is_in_a_pair_with_its_own_other_side(
    pairs: list[list[str]], told: tuple[str, str, str], tmp_path: Path
):
    """Else eyes become brows in every mirrored picture."""
    names = [name for pair in pairs for name in pair]
    name, partner, other = told
    with pytest.raises(
        InputError, match=rf"{name} is in a pair with {partner}, .* its other side is {other}: put"
    ):
        read_label_set(file_of(names, pairs, tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [("leye", "reye"), ("lb", "rb"), ("LEye", "REye"), ("eyel", "eyer"), ("EARR", "EARL")],
)
def test_names_that_differ_in_l_and_r_alone_are_a_pair(one: str, other: str, tmp_path: Path):
    """A set of words that are no sides has a way out: another name, say gown for robe."""
    assert read_label_set(file_of([one, other], [[other, one]], tmp_path)).flipped_ids == (0, 2, 1)
    with pytest.raises(InputError, match=f"{one} and {other} differ in l and r .*, give one another name"):
        read_label_set(file_of([one, other], [], tmp_path))
    assert len(read_label_set(file_of([one, "gown"], [], tmp_path))) == 3


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("leye", "reye"), []),
        (("left_eye", "nose", "right_eye"), [["nose", "left_eye"]]),
        (("Left_eye", "left_eye", "right_eye"), [["left_eye", "right_eye"]]),
    ],
)
def test_a_stored_network_keeps_the_sides_that_files_may_not_have(
    names: tuple[str, ...], pairs: list[list[str]], tmp_path: Path
):
    """Whatever they are called, no label is put into a second pair."""
    path = file_of([*names], pairs, tmp_path)
    found = stored_label_set(json.loads(Path(path).read_text()), "config.json")
    assert [[*pair] for pair in found.pairs] == pairs
    with pytest.raises(InputError):
        read_label_set(path)


def test_a_side_among_other_roles_is_no_pair(tmp_path: Path):
    """Skin would become the left eye in every mirrored picture."""
    labels = {
        "rest": {"color": [0, 0, 0]},
        "left": {"color": [0, 0, 9], "roles": ["left_eye"]},
        "skin": {"color": [9, 0, 0], "roles": ["skin", "right_eye"]},
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(eyes(labels=labels, pairs=[])))
    found = read_label_set(str(path))
    assert found == stored_label_set(found.to_dict(), "config.json")
    assert (found.pairs, found.one_sided) == ((), ("left",))


def test_two_spellings_of_a_side_have_one_other():
    labels = {name: {"color": [0, 0, index]} for index, name in enumerate(("x", "L_ear", "l_ear", "r_ear"))}
    assert stored_label_set(eyes(labels=labels, pairs=[]), "config.json").pairs == (("L_ear", "r_ear"),)


def test_a_side_without_its_other_needs_no_pair():
    labels = {
        name: {"color": [0, 0, index]} for index, name in enumerate(("rest", "ear_r", "u_lip", "l_lip"))
    }
    assert LabelSet.from_dict(eyes(labels=labels, pairs=[]), "mine.toml").flipped_ids == (0, 1, 2, 3)


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_a_bad_set_is_one_line(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        LabelSet.from_dict(eyes(**change), "mine.toml")
    assert "\n" not in str(raised.value)


def test_files_that_are_none(tmp_path: Path):
    (tmp_path / "twice.json").write_text('{"name": "x", "labels": {"a": {"color": [0,0,0]}, "a": {}}}')
    (tmp_path / "broken.toml").write_text("name = ")
    for source, message in (
        ("mine", "one of celebamask, lapa, face-synthetics, coarse, or a .toml or .json file"),
        (str(tmp_path / "no.toml"), "No such file"),
        (str(tmp_path / "twice.json"), "'a' comes twice"),
        (str(tmp_path / "broken.toml"), "can't be read"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            read_label_set(source)


def test_a_label_called_background_comes_first(tmp_path: Path):
    """Else the means without background would leave another label out."""
    path = file_of(["Background", "hair"], [], tmp_path)
    with pytest.raises(InputError, match="Background is not the first label: put it first, its id is 0"):
        read_label_set(path)
    assert stored_label_set(json.loads(Path(path).read_text()), "x").names == ("rest", "Background", "hair")


@pytest.mark.parametrize("entries", [["background", "skin"], [0, 1], [["background", {"color": [0, 0, 0]}]]])
def test_a_list_of_names_alone_is_no_label_set(entries: list[object]):
    with pytest.raises(InputError, match=r"needs \[labels\]: a colour and roles for each name"):
        LabelSet.from_dict(eyes(labels=entries, pairs=[]), "mine.json")


def test_names_that_differ_in_case_alone_are_no_sides():
    labels = {name: {"color": [0, 0, index]} for index, name in enumerate(("rest", "Hair", "hair"))}
    assert LabelSet.from_dict(eyes(labels=labels, pairs=[]), "mine.toml").flipped_ids == (0, 1, 2)


def test_a_part_of_a_face_is_no_background(tmp_path: Path):
    """What lies around a face, and clutter in augmentation, would be trained as that part."""
    path = tmp_path / "mine.toml"
    for role, refused in (("skin", True), ("background", False)):
        path.write_text(f"""name = "mine"
[labels]
first = {{ color = [1, 0, 0], roles = ["{role}"] }}
rest = {{ color = [0, 0, 1], roles = [] }}
""")
        if refused:
            with pytest.raises(
                InputError, match="what no face covers would be first: put a background before"
            ):
                read_label_set(str(path))
        else:
            assert read_label_set(str(path)).names == ("first", "rest")


def test_a_file_does_not_take_a_built_in_sets_name(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(read_label_set("lapa").to_toml())
    assert read_label_set(str(path)) == read_label_set("lapa")
    path.write_text(path.read_text() + "beard = { color = [153, 102, 204], roles = [] }\n")
    with pytest.raises(InputError, match="another set than the built-in lapa: give it another name"):
        read_label_set(str(path))


def test_sides_at_both_ends_of_a_name_change_together():
    assert "rur" in other_sides("lul")
