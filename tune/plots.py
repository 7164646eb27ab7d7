"""The plots of a search: parallel coordinates, importance, best so far, and the front of two objectives."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from lisa.figures.png_files import save_plot
from tune.experiment import Outcome
from tune.space import Point, Space

ENOUGH_FOR_IMPORTANCE = 4
"""Trials without which nothing can be said about what mattered."""


def draw_plots(folder: Path, space: Space, outcomes: Sequence[Outcome], two_objectives: bool) -> list[str]:
    """Draws what the outcomes, in the order in which they began, allow, and returns the files' names.

    Raises InputError for a file that can't be written.
    """
    mpl.use("agg")
    scored = [outcome for outcome in outcomes if "best_miou" in outcome.result]
    drawn = ["best_so_far.png", "parallel.png"]
    _draw_best_so_far(folder / "best_so_far.png", scored)
    _draw_parallel(folder / "parallel.png", space, scored)
    importance = importances(space, scored)
    if importance:
        _draw_importance(folder / "importance.png", importance)
        drawn.append("importance.png")
    if two_objectives:
        _draw_front(folder / "front.png", scored)
        drawn.append("front.png")
    return drawn


def importances(space: Space, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Each name's share in what sets the best tenth of the trials apart; empty where too little tells.

    PED-ANOVA (https://arxiv.org/abs/2304.10255), Optuna's own from version 5 on.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    scores = {outcome.result["best_miou"] for outcome in outcomes}
    if len(outcomes) < ENOUGH_FOR_IMPORTANCE or len(scores) < 2:
        return {}
    study = optuna.create_study(direction="maximize")
    known = distributions(space)
    for outcome in outcomes:
        study.add_trial(
            optuna.trial.create_trial(
                params=dict(outcome.point), distributions=known, value=outcome.result["best_miou"]
            )
        )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def distributions(space: Space) -> dict[str, Any]:
    """The space in Optuna's words."""
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        name: IntDistribution(int(interval.low), int(interval.high))
        if interval.integer
        else FloatDistribution(interval.low, interval.high, log=interval.log)
        for name, interval in space.ranges().items()
    }


def _draw_best_so_far(path: Path, outcomes: Sequence[Outcome]) -> None:
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    scores = [100 * outcome.result["best_miou"] for outcome in outcomes]
    numbers = np.arange(1, len(scores) + 1)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.scatter(numbers, scores, color="tab:gray", label="trial")
    axes.step(numbers, list(accumulate(scores, max)), where="post", label="best so far")
    axes.set(xlabel="trials, as they began", ylabel="best val mIoU, %", title="Best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    save_plot(figure, path)


def _draw_parallel(path: Path, space: Space, outcomes: Sequence[Outcome]) -> None:
    """A line per trial over one axis per name; colour and last axis are the score."""
    from matplotlib import pyplot as plt

    ranges = space.ranges()
    scores = np.array([100 * outcome.result["best_miou"] for outcome in outcomes])
    low, high = float(scores.min()), max(float(scores.max()), float(scores.min()) + 0.1)
    colours = plt.get_cmap("viridis")
    figure, axes = plt.subplots(figsize=(1.6 * (len(ranges) + 1) + 1, 5), layout="constrained")
    for outcome, score in sorted(zip(outcomes, scores, strict=True), key=lambda pair: pair[1]):
        heights = [*_heights(outcome.point, space), (score - low) / (high - low)]
        axes.plot(range(len(heights)), heights, color=colours((score - low) / (high - low)), alpha=0.8)
    for position, interval in enumerate([*ranges.values(), None]):
        axes.axvline(position, color="black", linewidth=0.8)
        ends = (low, high) if interval is None else (interval.low, interval.high)
        for height, value in zip((-0.04, 1.04), ends, strict=True):
            axes.text(position, height, f"{value:.3g}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(ranges) + 1), [*ranges, "best mIoU, %"], rotation=20, ha="right")
    axes.set(yticks=[], ylim=(-0.1, 1.1), title="Trials, the brighter the better")
    for side in axes.spines.values():
        side.set_visible(False)
    save_plot(figure, path)


def _heights(point: Point, space: Space) -> list[float]:
    """Where the point's values lie between their interval's ends, 0 to 1."""
    heights: list[float] = []
    for name, interval in space.ranges().items():
        low, high, value = interval.low, interval.high, point[name]
        if interval.log:
            low, high, value = np.log(low), np.log(high), np.log(value)
        heights.append(float((value - low) / (high - low)))
    return heights


def _draw_importance(path: Path, importance: dict[str, float]) -> None:
    from matplotlib import pyplot as plt

    names = list(importance)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.4 * len(names) + 1.5), layout="constrained")
    axes.barh(names, [100 * importance[name] for name in names])
    axes.set(xlabel="share in what sets the best trials apart, % (PED-ANOVA)", title="What mattered")
    axes.grid(alpha=0.3, axis="x")
    save_plot(figure, path)


def front(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Trials that no other beats in both mIoU and milliseconds, from the fastest on."""
    chosen: list[Outcome] = []
    finished = (outcome for outcome in outcomes if not outcome.result["diverged"])
    for outcome in sorted(finished, key=lambda o: (o.result["latency_ms"], -o.result["best_miou"])):
        if not chosen or outcome.result["best_miou"] > chosen[-1].result["best_miou"]:
            chosen.append(outcome)
    return chosen


def _draw_front(path: Path, outcomes: Sequence[Outcome]) -> None:
    from matplotlib import pyplot as plt

    shown = [outcome.result for outcome in outcomes if not outcome.result["diverged"]]
    best = [outcome.result for outcome in front(outcomes)]
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    dots = axes.scatter(
        [result["latency_ms"] for result in shown],
        [100 * result["best_miou"] for result in shown],
        c=[result["parameters"] / 1e6 for result in shown],
    )
    figure.colorbar(dots, label="million parameters")
    axes.step(
        [result["latency_ms"] for result in best],
        [100 * result["best_miou"] for result in best],
        where="post",
        color="tab:red",
        marker="x",
        label="Pareto front",
    )
    axes.set(
        xlabel="exported file, one CPU thread, ms a picture",
        ylabel="best val mIoU, %",
        title="Two objectives",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    save_plot(figure, path)
