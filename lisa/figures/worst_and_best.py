"""Pictures of an evaluation: the worst and the best predictions, beside the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lisa.data.pairs import Pair
from lisa.evaluation.metrics import Tally, iou_of, picture_mious
from lisa.face_parser import FaceParser
from lisa.figures.comparison import parse, read_pair
from lisa.figures.confusion import draw_confusion
from lisa.figures.png_files import save_png
from lisa.figures.sheet import Row, colored, errors, flat_panel, photo_panel, sheet
from lisa.system.files import make_folders

SHOWN = 20
SIDE = 192
BLOCKS = 2
WEAKEST = 4
"""Classes named above a picture."""


def draw_evaluation(folder: Path, tally: Tally, pairs: Sequence[Pair], parser: FaceParser) -> None:
    """Writes ``confusion.png``, ``worst.png`` and ``best.png``; the pictures shown are predicted again."""
    make_folders([folder])
    draw_confusion(tally.confusion, tally.labels, folder / "confusion.png")
    order = order_by_miou(tally)
    for name, indices in (("worst", order[:SHOWN]), ("best", order[: -SHOWN - 1 : -1])):
        rows = [_row(pairs[index], tally, index, parser) for index in indices]
        titles = ("picture", "truth", "prediction", "error")
        save_png(sheet(titles, rows, SIDE, tally.labels, min(BLOCKS, len(rows))), folder / f"{name}.png")


def order_by_miou(tally: Tally) -> list[int]:
    """Sorts pictures by their own mIoU, lowest first, ties by index; leaves out those without labels."""
    mious = picture_mious(tally)
    return [index for index in mious.argsort(stable=True).tolist() if not mious[index].isnan()]


def _row(pair: Pair, tally: Tally, index: int, parser: FaceParser) -> Row:
    image, truth = read_pair(pair)
    prediction, labels = parse(parser, image, truth.shape), tally.labels
    shown = np.asarray(Image.fromarray(image).resize(truth.shape[::-1]))
    flat = (colored(truth, labels), colored(prediction, labels), errors(shown, truth, prediction))
    panels = [photo_panel(image, SIDE), *(flat_panel(colors, SIDE) for colors in flat)]
    iou = iou_of(tally.regions[index].cpu())
    weakest = [at for at in iou.argsort(stable=True).tolist() if not iou[at].isnan()][:WEAKEST]
    named = ", ".join(f"{labels.names[at]} {100 * iou[at]:.0f}" for at in weakest)
    return Row(panels, f"{pair.image.stem[-32:]}   mIoU {100 * iou.nanmean():.1f}   weakest: {named}")
