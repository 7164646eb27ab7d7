"""The confusion matrix as a picture."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from torch import Tensor

from lisa.figures.png_files import save_plot
from lisa.labels import LabelSet

SIDE, CELL, NAME = 10, 0.45, 0.08
"""Inches: of the figure, of a class where there are many, and of a name's letter."""


def draw_confusion(confusion: Tensor, labels: LabelSet, path: Path) -> None:
    """Draws a confusion matrix, (C,C) pixel counts with truth in rows, in % of each true class's pixels."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    counts = confusion.double().cpu().numpy()
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    beyond = max(0, max(map(len, labels.names)) - len("background")) * NAME
    side = max(SIDE, CELL * len(labels)) + beyond
    figure, axes = plt.subplots(figsize=(side + 1, side), layout="constrained")
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=10)  # the root shows confusions of a few percent
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            color = "white" if share > 40 else "black"
            axes.text(column, row, str(int(share + 0.5)), ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(labels)), labels.names, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels.names)
    axes.set(xlabel="predicted", ylabel="truth", title="Confusion: % of each true class's pixels")
    save_plot(figure, path, dpi=110)
