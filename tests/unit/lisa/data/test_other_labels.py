"""CelebAMask-HQ's masks, as the converter and the drawing write them, read onto other label sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lisa.data.checking import check_pairs
from lisa.data.folders import find_pairs
from lisa.data.mask_formats import MaskError, read_stored, to_ours
from lisa.data.pairs import decode
from lisa.data.synthetic import write_dataset
from lisa.errors import InputError
from lisa.labels import BUILT_IN, IDS, Label, LabelSet, read_label_set
from lisa.labels.encoding import read_encoding


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    write_dataset(folder, count=40, seed=2, size=96, workers=1)
    return folder


@pytest.mark.parametrize("name", BUILT_IN)
def test_nineteen_labels_train_any_built_in_set(faces: Path, name: str):
    labels = read_label_set(name)
    pairs = find_pairs(faces, "train", read_encoding("celebamask-hq", labels))
    checked = check_pairs(pairs)
    assert len(checked.class_counts) == len(labels)
    for pair in pairs[:4]:
        stored, read = np.asarray(Image.open(pair.mask)), np.asarray(decode(pair).mask)
        assert np.array_equal(stored == IDS["hair"], read == labels.ids["hair"])
        assert np.array_equal(read, pair.encoding.table()[stored])


def test_without_an_encoding_they_are_refused_with_the_option(faces: Path):
    pair = find_pairs(faces, "train", read_encoding("", read_label_set("lapa")))[0]
    told = (
        r"order celebamask-hq: train with --labels celebamask, or read .* by --data\.encoding celebamask-hq"
    )
    with pytest.raises(InputError, match=told):
        decode(pair)


def test_an_optimisers_grey_palette_holds_the_files_ids(tmp_path: Path):
    """Index 0 is grey level 13: hair, and not the background."""
    mask = Image.fromarray(np.array([[0, 1, 2]] * 9, np.uint8), mode="P")
    mask.putpalette([13] * 3 + [1] * 3 + [0] * 3)
    mask.save(tmp_path / "x.png")
    for name in ("celebamask", "coarse", "lapa"):
        encoding = read_encoding("celebamask-hq", read_label_set(name))
        found = to_ours(read_stored(tmp_path / "x.png", encoding), encoding)
        ids = encoding.labels.ids
        assert found[0].tolist() == [ids["hair"], ids["skin"], 0]


def test_a_bald_head_is_no_binary_mask(make_faces: Callable[..., Path]):
    """Skin and eyes are ignored in a set without them; that leaves background and 255."""
    hair = Label("hair", (1, 1, 1), ("hair",))
    few = LabelSet("few", (Label("background", (0, 0, 0), ("background",)), hair))
    pairs = find_pairs(make_faces(), "train", read_encoding("celebamask-hq", few))
    ids = np.zeros((40, 40), np.uint8)
    ids[10:30, 10:30], ids[14:16, 14:16] = 1, 5
    Image.fromarray(ids).save(pairs[0].mask)
    check_pairs(pairs)  # nothing is refused


@pytest.mark.parametrize(
    ("text", "values"),
    [("0=background,255=hair", {0: 0, 1: 255}), ("0=background,128=skin,255=hair", {0: 0, 1: 128, 2: 255})],
)
def test_255_is_a_label_where_it_is_named(make_faces: Callable[..., Path], text: str, values: dict[int, int]):
    """The commonest binary masks are of 0 and 255."""
    root = make_faces(train=4)
    background = Label("background", (0, 0, 0), ("background",))
    skin, hair = Label("skin", (1, 1, 1), ("skin",)), Label("hair", (2, 2, 2), ("hair",))
    labels = LabelSet("few", (background, *([skin] * ("skin" in text)), hair))
    shares = np.arange(40) * len(values) // 40
    ids = np.array(list(values.values()), np.uint8)[shares]
    for path in (root / "train/masks").iterdir():
        Image.fromarray(np.repeat(ids[None], 40, 0)).save(path)
    with pytest.raises(InputError, match="255"):
        check_pairs(find_pairs(root, "train", read_encoding("", labels)))
    pairs = find_pairs(root, "train", read_encoding(text, labels))
    checked = check_pairs(pairs)
    assert checked.class_counts.tolist() == np.bincount(np.repeat(shares, 40 * 4)).tolist()


def test_an_encoding_that_leaves_nothing_is_refused(faces: Path):
    plain = LabelSet("plain", (Label("a", (0, 0, 0)), Label("b", (1, 1, 1))))
    pairs = find_pairs(faces, "train", read_encoding("celebamask-hq", plain))
    with pytest.raises(InputError, match="there is nothing to learn"):
        check_pairs(pairs)


def test_foreign_palettes_are_refused(tmp_path: Path):
    """Colours of the labels at ids of no known order."""
    lapa = read_label_set("lapa")
    mask = Image.fromarray(np.array([[0, 1, 2]] * 9, np.uint8), mode="P")
    mask.putpalette([*lapa.palette[9:12], *lapa.palette[0:3], *lapa.palette[15:18]])
    mask.save(tmp_path / "x.png")
    with pytest.raises(MaskError, match="neither that of the labels nor celebamask-hq"):
        read_stored(tmp_path / "x.png", read_encoding("celebamask-hq", lapa))


GREYS = {"black": (0, 0, 0), "grey": (128, 128, 128), "white": (255, 255, 255)}


def in_palette(ids: np.ndarray, colors: np.ndarray, order: list[int]) -> Image.Image:
    """As a palette that holds the labels' colours in this order."""
    indices = np.array([order.index(index) for index in ids.flat], np.uint8).reshape(ids.shape)
    mask = Image.fromarray(indices, mode="P")
    mask.putpalette(colors[order].ravel().tolist())
    return mask


CARRIED: dict[str, Callable[[np.ndarray, np.ndarray], Image.Image]] = {
    "RGB": lambda ids, colors: Image.fromarray(colors[ids]),
    "palette": lambda ids, colors: in_palette(ids, colors, list(range(len(colors)))),
    "palette turned": lambda ids, colors: in_palette(ids, colors, list(range(len(colors)))[::-1]),
    "palette of what is there": lambda ids, colors: in_palette(ids, colors, np.unique(ids).tolist()),
}


@pytest.mark.parametrize("names", [("black", "white"), ("black", "grey", "white"), ("white", "black")])
@pytest.mark.parametrize("kind", CARRIED)
def test_black_grey_and_white_are_colours_of_a_set_that_has_them(
    names: tuple[str, ...], kind: str, tmp_path: Path
):
    """They were taken for ids, white for what is ignored, and --data.encoding was refused next."""
    own = read_encoding("", LabelSet("greys", tuple(Label(name, GREYS[name]) for name in names)))
    colors = np.array([GREYS[name] for name in names], np.uint8)
    for ids in (np.arange(12).reshape(3, 4) % len(names), np.full((3, 4), len(names) - 1)):
        CARRIED[kind](ids, colors).save(tmp_path / "x.png")
        assert np.array_equal(to_ours(read_stored(tmp_path / "x.png", own), own), ids)


def test_greys_that_are_no_colours_of_the_set_are_ids_and_an_encoding_is_for_ids(tmp_path: Path):
    labels = LabelSet("greys", (Label("black", (0, 0, 0)), Label("grey", (9, 9, 9)), Label("red", (9, 0, 0))))
    for ids, text, read in (
        ([0, 1, 2], "", [0, 1, 2]),
        ([0, 9], "", [0, 1]),
        ([0, 9], "0=grey,9=red", [1, 2]),
    ):
        Image.fromarray(np.array([[[value] * 3 for value in ids]], np.uint8)).save(tmp_path / "x.png")
        each = read_encoding(text, labels)
        assert to_ours(read_stored(tmp_path / "x.png", each), each).tolist() == [read]
