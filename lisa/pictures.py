"""Pictures for people: overlays, a grid of picture | truth | prediction, curves of a run."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw

from lisa.checkpoint import Trained, load_network
from lisa.data.pairs import find_pairs, read_image, read_mask
from lisa.labels import PALETTE
from lisa.parser import FaceParser

GRID_ROWS = 6
GRID_SIDE = 256
HEADER = 24

_COLORS = np.zeros((256, 3), np.uint8)
_COLORS[: len(PALETTE) // 3] = np.array(PALETTE, np.uint8).reshape(-1, 3)
_COLORS[255] = (128, 128, 128)


def colored(mask: np.ndarray) -> np.ndarray:
    """Ids (H,W) uint8 to the label contract's colours (H,W,3) uint8; ignored pixels are grey."""
    return _COLORS[mask]


def overlay(image: np.ndarray, mask: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """The colours blended over the picture, (H,W,3) uint8; background stays as it is."""
    blended = image * (1 - alpha) + colored(mask) * alpha
    return np.where((mask == 0)[..., None], image, blended.round()).astype(np.uint8)


def draw_run(folder: Path) -> None:
    """Draws ``curves.png`` and ``grid.png`` into a finished run's folder."""
    draw_curves(folder / "metrics.jsonl", folder / "curves.png")
    draw_grid(load_network(folder / "best.pt"), folder / "grid.png")


def draw_grid(trained: Trained, path: Path) -> None:
    """Six validation pictures, evenly spread: picture | truth | prediction | overlay, under a header."""
    data = trained.config.data
    pairs = find_pairs(data.root, "val", data.label_order, data.exclude)
    chosen = [pairs[index] for index in np.linspace(0, len(pairs) - 1, min(GRID_ROWS, len(pairs)), dtype=int)]
    rows: list[np.ndarray] = []
    for pair in chosen:
        image = np.asarray(read_image(pair.image))
        prediction = predict(trained, image)
        panels = (image, colored(np.asarray(read_mask(pair.mask, pair.label_order))), colored(prediction))
        rows.append(np.hstack([_fit(panel) for panel in (*panels, overlay(image, prediction))]))
    grid = Image.new("RGB", (4 * GRID_SIDE, HEADER + len(rows) * GRID_SIDE), "white")
    draw = ImageDraw.Draw(grid)
    for column, title in enumerate(("picture", "truth", "prediction", "overlay")):
        draw.text((column * GRID_SIDE + GRID_SIDE // 2, HEADER // 2), title, fill="black", anchor="mm")
    grid.paste(Image.fromarray(np.vstack(rows)), (0, HEADER))
    grid.save(path)


def predict(trained: Trained, image: np.ndarray) -> np.ndarray:
    """Label ids (H,W) uint8 of one picture (H,W,3) uint8."""
    parser = FaceParser(trained.network, trained.config.data.size).eval()
    with torch.inference_mode():
        return parser(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])[0].numpy()


def _fit(panel: np.ndarray) -> np.ndarray:
    image = Image.fromarray(panel).resize((GRID_SIDE, GRID_SIDE), Image.Resampling.NEAREST)
    return np.asarray(image)


def draw_curves(log: Path, path: Path) -> None:
    """Losses, and mIoU with mean F1, against the epoch."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    records: list[dict[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [record for record in records if record["event"] == "epoch"]
    number = [record["epoch"] for record in epochs]
    figure, (losses, scores) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    losses.plot(number, [record["train_loss"] for record in epochs], marker=".", label="training")
    losses.plot(number, [record["loss"] for record in epochs], marker=".", label="validation")
    losses.set(xlabel="epoch", ylabel="loss", title="Loss")
    for key, label in (("miou", "mIoU"), ("mean_f1", "mean F1")):
        scores.plot(number, [100 * record[key] for record in epochs], marker=".", label=label)
    scores.set(xlabel="epoch", ylabel="%", title="Validation", ylim=(0, 100))
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        axes.legend()
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
