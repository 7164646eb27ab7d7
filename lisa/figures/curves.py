"""A run's curves: losses and scores against the epoch."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

from lisa.figures.png_files import save_plot


def draw_curves(log: Path, path: Path) -> None:
    """Draws losses, and mIoU with mean F1, against the epoch; ``log`` is a run's metrics.jsonl."""
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
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    save_plot(figure, path)
