"""The report's figures and an evaluation's pictures, drawn from untrained networks."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lisa.config import Config, DataConfig, ModelConfig
from lisa.data.folders import find_pairs
from lisa.data.source import Source, SplitSource
from lisa.errors import InputError
from lisa.evaluation.evaluate import evaluate
from lisa.evaluation.metrics import Tally, picture_mious
from lisa.figures import comparison, worst_and_best
from lisa.figures.__main__ import augmentation, main
from lisa.figures.comparison import compare, grid, read_pair
from lisa.figures.sheet import Row
from lisa.figures.worst_and_best import draw_evaluation, order_by_miou
from lisa.labels import Label, LabelSet
from lisa.labels.celebamask import CELEBAMASK
from lisa.models import build
from lisa.run import checkpoint
from lisa.world import World


def saved(path: Path, name: str, labels: LabelSet = CELEBAMASK) -> Path:
    """A checkpoint of an untrained network."""
    config = Config(data=DataConfig(size=32), model=ModelConfig(name=name), labels=labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(checkpoint.payload(build(config.model).state_dict(), config, {}), path)
    return path


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The headers of all sheets that are drawn."""
    seen: list[tuple[str, ...]] = []
    draw = comparison.sheet

    def sheet(titles: tuple[str, ...], rows: list[Row], side: int, *more: Any, **named: Any) -> Image.Image:
        assert {len(row.panels) for row in rows} == {len(titles)}
        seen.append(titles)
        return draw(titles, rows, side, *more, **named)

    monkeypatch.setattr(comparison, "sheet", sheet)
    return seen


def test_compare_names_the_networks(
    make_faces: Callable[..., Path], tmp_path: Path, titles: list[tuple[str, ...]]
):
    root = make_faces(val=3)
    paths = [saved(tmp_path / "a/best.pt", "lisa"), saved(tmp_path / "b/best.pt", "unet")]
    compare(paths, SplitSource(root), tmp_path / "new/figure4.png")
    assert titles == [("picture", "truth", "LISA", "UNet")]
    shown = np.asarray(Image.open(tmp_path / "new/figure4.png"))
    truth = np.asarray(read_pair(find_pairs(root, "val")[0])[1])
    for index in np.unique(truth):
        label = CELEBAMASK.labels[index]
        assert (shown == label.color).all(2).sum() > 1000, label.name


def test_the_compare_command(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    paths = [str(saved(tmp_path / name / "best.pt", "unet")) for name in ("a", "b")]
    words = ["--checkpoints", *paths, "--data", str(make_faces()), "--output", str(tmp_path / "figure4.png")]
    monkeypatch.setattr(sys, "argv", ["pictures", "compare", *words])
    main()
    with Image.open(tmp_path / "figure4.png") as shown:
        assert min(shown.size) > 256


def test_two_of_a_kind_are_told_apart(
    make_faces: Callable[..., Path], tmp_path: Path, titles: list[tuple[str, ...]]
):
    source, figure = SplitSource(make_faces()), tmp_path / "figure4.png"
    compare([saved(tmp_path / "a/best.pt", "unet"), saved(tmp_path / "b/last.pt", "unet")], source, figure)
    paths = [saved(tmp_path / f"{each}/x/best.pt", "unet") for each in ("a", "b")]
    compare(paths, source, figure)
    compare(2 * paths[:1], source, figure)
    assert titles == [
        ("picture", "truth", "UNet (a/best)", "UNet (b/last)"),
        ("picture", "truth", "UNet (a/x/best)", "UNet (b/x/best)"),
        ("picture", "truth", "UNet (x/best)", "UNet (x/best)"),
    ]


def test_grid_of_fewer_pictures_than_places(
    make_faces: Callable[..., Path], tmp_path: Path, titles: list[tuple[str, ...]]
):
    source = SplitSource(make_faces(val=3), split="test")
    grid(saved(tmp_path / "a/best.pt", "unet"), source, tmp_path / "figure5.png")
    assert titles == [("picture", "UNet")]
    assert Image.open(tmp_path / "figure5.png").size[0] > 3 * 2 * 256


def test_networks_are_compared_by_their_labels(make_faces: Callable[..., Path], tmp_path: Path):
    """Whatever their set is called, and in whatever order its pairs are."""
    renamed = LabelSet("mine", CELEBAMASK.labels, CELEBAMASK.pairs[::-1])
    others = LabelSet("mine", (*CELEBAMASK.labels[:-1], Label("scarf", (0, 204, 0))), CELEBAMASK.pairs)
    first = saved(tmp_path / "a.pt", "unet")
    source, output = SplitSource(make_faces()), tmp_path / "figure4.png"
    compare([first, saved(tmp_path / "b.pt", "unet", renamed)], source, output)
    with pytest.raises(InputError, match=r"c.pt was trained on label set mine, .* compare networks of one"):
        compare([first, saved(tmp_path / "c.pt", "unet", others)], source, output)


def test_wrong_input_is_one_line(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    faces = make_faces()
    with pytest.raises(InputError, match="at least one"):
        compare([], SplitSource(faces), tmp_path / "figure4.png")
    with pytest.raises(InputError, match="--size 0: 16 pixels or more"):
        augmentation(Source(faces), tmp_path / "sheet.png", size=0)
    words = ("grid", "--checkpoint", "none.pt", "--data", "x", "--output", "y.png")
    monkeypatch.setattr(sys, "argv", ["pictures", *words])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err == "error: none.pt: No such file or directory\n"


def test_a_figure_replaces_no_file_but_a_picture(make_faces: Callable[..., Path], tmp_path: Path):
    """A checkpoint named twice would be lost."""
    path, source = tmp_path / "best.pt", SplitSource(make_faces())
    path.write_bytes(b"weights")
    for draw in (
        lambda: compare([path], source, path),
        lambda: grid(path, source, path),
        lambda: augmentation(Source(source.data), path),
    ):
        with pytest.raises(InputError, match=r"best.pt: is there, and no PNG"):
            draw()
    assert path.read_bytes() == b"weights"
    png = tmp_path / "sheet.png"
    for _ in range(2):
        augmentation(Source(source.data), png, size=16)
    assert Image.open(png).width == 7 * 16


def test_an_augmentation_sheet_is_of_masks_that_train(make_faces: Callable[..., Path], tmp_path: Path):
    """Without --labels those of another set were drawn as CelebAMask-HQ's."""
    faces = make_faces()
    for path in (faces / "train/masks").iterdir():
        Image.fromarray(np.array(Image.open(path)) // 10).save(path)
    with pytest.raises(InputError, match="no value but 0 and 1: masks of a face"):
        augmentation(Source(faces), tmp_path / "sheet.png", size=16)


def test_ranked_from_worst_to_best():
    truth = torch.ones(10, 10, dtype=torch.uint8)
    tally = Tally(4, CELEBAMASK)
    for number, right in enumerate((60, 90, 30)):
        prediction = torch.zeros(100, dtype=torch.uint8)
        prediction[:right] = 1
        tally.add(number, prediction.view(10, 10), truth)
    tally.add(3, truth, torch.full_like(truth, 255))
    assert order_by_miou(tally) == [2, 0, 1]


def test_an_evaluation_of_masks_smaller_than_their_pictures_is_drawn(
    make_faces: Callable[..., Path], tmp_path: Path
):
    root = make_faces(val=1)
    for path in (root / "val/images").iterdir():
        picture = Image.open(path)
        picture.resize((3 * picture.width, 3 * picture.height)).save(path)
    trained = checkpoint.load_network(saved(tmp_path / "a/best.pt", "unet"))
    pairs = find_pairs(root, "val")
    tally = evaluate(trained.network, 32, pairs, World()).tally
    draw_evaluation(tmp_path / "drawn", tally, pairs, trained.parser())
    assert (tmp_path / "drawn/worst.png").stat().st_size > 1000


def test_an_evaluation_is_drawn(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn: list[list[str]] = []
    draw = worst_and_best.sheet

    def sheet(titles: tuple[str, ...], rows: list[Row], side: int, *more: Any, **named: Any) -> Image.Image:
        drawn.append([row.caption for row in rows])
        return draw(titles, rows, side, *more, **named)

    monkeypatch.setattr(worst_and_best, "sheet", sheet)
    monkeypatch.setattr(worst_and_best, "SHOWN", 2)
    trained = checkpoint.load_network(saved(tmp_path / "a/best.pt", "unet"))
    pairs = find_pairs(make_faces(val=3), "val")
    tally = evaluate(trained.network, 32, pairs, World()).tally
    draw_evaluation(tmp_path / "drawn", tally, pairs, trained.parser())
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "best.png",
        "confusion.png",
        "worst.png",
    ]
    order, mious = order_by_miou(tally), picture_mious(tally)
    for captions, indices in zip(drawn, (order[:2], order[:0:-1]), strict=True):
        for caption, index in zip(captions, indices, strict=True):
            assert caption.startswith(
                f"{pairs[index].image.stem}   mIoU {100 * mious[index]:.1f}   weakest: "
            )
