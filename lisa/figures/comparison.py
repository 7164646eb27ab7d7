"""Draws predictions beside the truth: a run's grid, and the report's Figures 4 and 5."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lisa.data.checking import check_pairs
from lisa.data.evenly import evenly
from lisa.data.folders import find_pairs, share_of
from lisa.data.pairs import Pair, decode
from lisa.data.source import SplitFlags
from lisa.errors import InputError
from lisa.figures.png_files import require_figure, save_png
from lisa.figures.sheet import Row, colored, flat_panel, overlay, photo_panel, sheet
from lisa.labels import LabelSet

if TYPE_CHECKING:  # torch and timm take seconds: --help and a wrong argument need not wait for them
    from lisa.face_parser import FaceParser
    from lisa.run.checkpoint import Trained

GRID_ROWS = 6
FIGURE4_ROWS = 6
FIGURE5_ROWS, FIGURE5_BLOCKS = 4, 4
SIDE = 256
TITLES = {"lisa": "LISA", "lisa_fold4": "LISA, folded", "unet": "UNet", "segnext": "SegNeXt"}
"""How a network's name in the registry is written."""


def draw_grid(trained: "Trained", path: Path) -> None:
    """Six validation pictures, evenly spread: picture | truth | prediction | overlay."""
    data = trained.config.data
    share = share_of(data.root, data.val_share)
    pairs = find_pairs(data.root, "val", trained.config.encoding, data.exclude, share)
    save_png(grid_sheet(trained.parser(), pairs, SIDE), path)


def grid_sheet(parser: "FaceParser", pairs: Sequence[Pair], side: int) -> Image.Image:
    """Six of the pairs, evenly spread, one a row: picture | truth | prediction | overlay."""
    labels = pairs[0].encoding.labels
    rows: list[Row] = []
    for pair in evenly(pairs, GRID_ROWS):
        image, truth = read_pair(pair)
        prediction = parse(parser, image)
        masks = [flat_panel(colored(mask, labels), side) for mask in (truth, prediction)]
        blended = photo_panel(overlay(image, prediction, labels), side)
        rows.append(Row((photo_panel(image, side), *masks, blended)))
    return sheet(("picture", "truth", "prediction", "overlay"), rows, side, labels)


def compare(checkpoints: list[Path], source: SplitFlags, output: Path) -> None:
    """Several networks side by side on six pictures, evenly spread: picture, truth, each network (Figure 4).

    Args:
        checkpoints: best.pt or last.pt of the runs, in the order of their columns.
        source: Which pictures.
        output: The PNG to write.
    """
    if not checkpoints:
        raise InputError("--checkpoints: name at least one")
    require_figure(output)
    from lisa.run.checkpoint import load_network

    trained = [load_network(path) for path in checkpoints]
    parsers = [each.parser() for each in trained]
    # Shares are nested: the smallest one's val is in every other's.
    shares = (each.config.data.val_share for each in trained)
    share = min(filter(None, shares), default=0.0)
    labels = _common_labels(checkpoints, trained)
    rows: list[Row] = []
    for pair in _chosen(source, trained[0], share, FIGURE4_ROWS):
        image, truth = read_pair(pair)
        masks = [truth, *(parse(parser, image) for parser in parsers)]
        panels = (flat_panel(colored(mask, labels), SIDE) for mask in masks)
        rows.append(Row((photo_panel(image, SIDE), *panels)))
    titles = ("picture", "truth", *_titles(checkpoints, trained))
    save_png(sheet(titles, rows, SIDE, labels), output)


def grid(checkpoint: Path, source: SplitFlags, output: Path) -> None:
    """A network's predictions of sixteen pictures, evenly spread over the split (Figure 5).

    Args:
        checkpoint: best.pt or last.pt of a run.
        source: Which pictures.
        output: The PNG to write.
    """
    require_figure(output)
    from lisa.run.checkpoint import load_network

    trained = load_network(checkpoint)
    parser, labels, share = trained.parser(), trained.config.labels, trained.config.data.val_share
    rows: list[Row] = []
    for pair in _chosen(source, trained, share, FIGURE5_ROWS * FIGURE5_BLOCKS):
        image, _ = read_pair(pair)
        prediction = flat_panel(colored(parse(parser, image), labels), SIDE)
        rows.append(Row((photo_panel(image, SIDE), prediction)))
    titles = ("picture", *_titles([checkpoint], [trained]))
    save_png(sheet(titles, rows, SIDE, labels, min(FIGURE5_BLOCKS, len(rows))), output)


def _chosen(source: SplitFlags, trained: "Trained", share: float, count: int) -> list[Pair]:
    """So many of the source's pairs, evenly spread, decoded once; prints how they are read.

    Raises InputError for what can't be used.
    """
    data = trained.config.data
    source, notes = source.as_trained(data.root, data.encoding)
    for note in notes:
        print(note)
    chosen = evenly(source.pairs(trained.config.labels, share), count)
    check_pairs(chosen)
    return chosen


def _common_labels(paths: Sequence[Path], trained: "Sequence[Trained]") -> LabelSet:
    """The label set of all networks. Raises InputError if they have several."""
    labels = trained[0].config.labels
    for path, each in zip(paths, trained, strict=True):
        if each.config.labels.labels != labels.labels:
            raise InputError(
                f"{path} was trained on {each.config.labels.told_from(labels)}, {paths[0]} on {labels.name}: "
                "compare networks of one set"
            )
    return labels


def _titles(paths: Sequence[Path], trained: "Sequence[Trained]") -> list[str]:
    """The networks' names; if one comes twice with run and file, and as many folders as tell them apart."""
    names = [TITLES.get(each.config.model.name, each.config.model.name) for each in trained]
    if len(set(names)) == len(names):
        return names
    parts = [path.resolve().with_suffix("").parts for path in paths]
    lengths = range(2, max(map(len, parts)))
    # None tells them apart if a file comes twice.
    length = next((each for each in lengths if len({own[-each:] for own in parts}) == len(parts)), 2)
    return [f"{name} ({'/'.join(own[-length:])})" for name, own in zip(names, parts, strict=True)]


def read_pair(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H,W,3) and ids (H,W), uint8."""
    image, mask = decode(pair)
    return np.asarray(image), np.asarray(mask)


def parse(parser: "FaceParser", image: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Label ids uint8 of one picture (H,W,3) uint8, at its size or at the ``shape`` (height, width)."""
    import torch

    from lisa.face_parser import argmax_at

    height, width = shape or image.shape[:2]
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(parser.mean.device)
    with torch.inference_mode():
        return argmax_at(parser.logits(pixels), height, width)[0].cpu().numpy()
