"""Sheets and panels, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from lisa.figures.confusion import draw_confusion
from lisa.figures.sheet import (
    BLOCK_GAP,
    CAPTION,
    ERROR_COLOR,
    GAP,
    HEADER,
    Row,
    colored,
    errors,
    flat_panel,
    overlay,
    photo_panel,
    sheet,
)
from lisa.labels import IDS, LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.label_set import Label


def test_colours_are_the_label_contracts():
    ids = np.arange(19, dtype=np.uint8)[None]
    shown = colored(ids, CELEBAMASK)[0].tolist()
    assert [tuple(color) for color in shown] == [label.color for label in CELEBAMASK.labels]
    assert colored(np.full((1, 1), 255, np.uint8), CELEBAMASK).tolist() == [[[128, 128, 128]]]


def test_overlay_leaves_background_alone():
    image = np.full((1, 2, 3), 100, np.uint8)
    blended = overlay(image, np.array([[0, IDS["nose"]]], np.uint8), CELEBAMASK)
    assert blended.tolist() == [[[100, 100, 100], [88, 126, 50]]]


def test_errors_redden_wrong_pixels_and_grey_ignored_ones():
    image = np.zeros((1, 3, 3), np.uint8)
    truth, prediction = np.array([[1, 1, 255]], np.uint8), np.array([[1, 2, 2]], np.uint8)
    right, wrong, ignored = errors(image, truth, prediction)[0].tolist()
    assert right == [0, 0, 0]
    assert wrong == [int(0.7 * channel) for channel in ERROR_COLOR]
    assert ignored == [128, 128, 128]


def test_panels_keep_the_aspect_and_mix_no_label_colours():
    image = np.zeros((20, 40, 3), np.uint8)
    assert photo_panel(image, 64).size == (64, 32)
    ids = np.random.default_rng(0).integers(0, 19, (50, 50)).astype(np.uint8)
    shown = np.asarray(flat_panel(colored(ids, CELEBAMASK), 33)).reshape(-1, 3)
    assert {tuple(color) for color in shown.tolist()} <= {label.color for label in CELEBAMASK.labels}


def test_a_sheet_shows_every_panel_in_its_place():
    side = 40
    rows = [
        Row(
            [Image.new("RGB", (side, side), (number, 10 * column, 77)) for column in range(2)],
            f"row {number}",
        )
        for number in range(3)
    ]
    shown = np.asarray(sheet(("left", "right"), rows, side, CELEBAMASK, blocks=2))
    corners: dict[tuple[int, int], tuple[int, int]] = {}
    for number in range(3):
        for column in range(2):
            found = np.argwhere((shown == (number, 10 * column, 77)).all(2))
            assert len(found) == side**2
            top, left = found.min(0).tolist()
            corners[number, column] = (top, left)
    assert corners[0, 0][0] == corners[2, 0][0] >= HEADER  # two rows in the first block, one in the second
    assert corners[1, 0][0] > corners[0, 0][0] + side
    assert corners[0, 0][1] < corners[0, 1][1] < corners[2, 0][1]


def test_the_legend_names_every_class_whatever_the_width():
    for blocks, titles in ((1, ("one",)), (1, ("a", "b", "c", "d")), (2, ("a", "b", "c", "d"))):
        rows = [Row([Image.new("RGB", (64, 64), "white")] * len(titles))] * 2
        shown = np.asarray(sheet(titles, rows, 64, CELEBAMASK, blocks))
        for label in CELEBAMASK.labels:
            assert (shown == label.color).all(2).sum() >= 100, label.name


def test_no_title_stands_over_a_block_without_rows():
    """Five rows in four blocks: two each, and the fourth has none."""
    rows = [Row([Image.new("RGB", (40, 40), "red")])] * 5
    three, four = (sheet(("one",), rows, 40, CELEBAMASK, blocks) for blocks in (3, 4))
    assert three.size == four.size


@pytest.mark.parametrize("side", [40, 64, 100])
def test_long_names_in_the_legend_keep_clear_of_one_another(side: int):
    long = "a_label_of_somebody_with_much_to_say"
    own = LabelSet("own", tuple(Label(f"{long}_{number}", (200, number, 77)) for number in range(6)))
    for labels in (own, read_label_set("lapa")):
        rows = [Row([Image.new("RGB", (side, side), "white")] * 9)]
        shown = np.asarray(sheet("123456789", rows, side, labels))
        for label in labels.labels[1:]:
            top, left = np.argwhere((shown == label.color).all(2)).min(0).tolist()
            before = shown[top : top + 10, max(0, left - 4) : left - 1]
            assert (before == 255).all(), label.name


def test_long_titles_and_captions_keep_clear_of_one_another():
    """Four weak classes with long names, and networks in deep folders."""
    caption = ", ".join(["a_label_of_somebody_with_much_to_say"] * 3)
    rows = [Row([Image.new("RGB", (192, 192), "white")] * 2, caption)] * 2
    titles = ("LISA, folded (folded_512_with_textures/best)",) * 2
    shown = np.asarray(sheet(titles, rows, 192, CELEBAMASK, blocks=2))
    second = GAP + 2 * (192 + GAP)  # where the first block has ended
    assert (shown[HEADER : HEADER + CAPTION, second : second + BLOCK_GAP - GAP] == 255).all()
    assert (shown[:HEADER, GAP + 192 : GAP + 192 + GAP] == 255).all()
    for text in (shown[:HEADER], shown[HEADER : HEADER + CAPTION]):
        assert (text < 128).any()


def test_a_confusion_matrix_grows_with_its_labels(tmp_path: Path):
    many = LabelSet("many", tuple(Label(f"label_of_somebody_{index}", (index, 0, 0)) for index in range(64)))
    sizes: list[int] = []
    for labels in (CELEBAMASK, many):
        draw_confusion(torch.eye(len(labels), dtype=torch.int64), labels, tmp_path / "confusion.png")
        sizes.append(Image.open(tmp_path / "confusion.png").height)
    assert sizes[0] == 1100
    assert sizes[1] > 64 * 45


def test_a_confusion_of_half_a_percent_is_no_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(Axes, "text", lambda self, x, y, text, **style: written.append(text))  # pyright: ignore
    two = LabelSet("two", (Label("background", (0, 0, 0)), Label("face", (9, 9, 9))))
    draw_confusion(torch.tensor([[199, 1], [5, 195]]), two, tmp_path / "confusion.png")
    assert written == ["100", "1", "3", "98"]
