"""The recipes best and report for equal minutes, evaluated, with curves and a grid: what the time is for."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.steps import config_of
from lisa.config import Config
from lisa.data.parallel import available_cores
from lisa.figures.finished_run import draw_run
from lisa.training.loop import fit
from lisa.world import World

RECIPES = {"best": "best", "report": "report --train.views 1"}

SPARE = 0.9
"""The share of its time that a run plans for: epochs differ."""

PROBED = 2
"""Epochs of the run that tells how long one takes; the first is slower."""


def run(bench: Bench) -> None:
    """Trains each for half of the time that is left."""
    bench.note(
        f"runs with curves, grid and weights are in {bench.output}; weights stay out of the repository"
    )
    recipes = bench.pick(RECIPES, {"best": RECIPES["best"]})
    for number, (name, words) in enumerate(recipes.items()):
        until = time.time() + max(0.0, bench.seconds_left) / (len(recipes) - number)
        workers = bench.pick(min(12, available_cores()), 0)
        config = config_of(words, bench, size=bench.pick(512, 32), workers=workers)
        folder = Path(bench.output)
        config = replace(config, data=replace(config.data, cache=str(folder / "cache")))
        config = shrunk(config) if bench.tiny else config
        seconds = epoch_seconds(replace(config, output=str(folder / f"{name}_probe")), bench)
        epochs = bench.pick(max(PROBED, int(SPARE * (until - time.time()) / seconds)), PROBED)
        train = replace(config.train, epochs=epochs, patience=epochs)
        train_until(replace(config, train=train, output=str(folder / name)), bench, name, until)


def shrunk(config: Config) -> Config:
    """For a rehearsal: no cache, which takes processes to make."""
    return replace(config, data=replace(config.data, cache=""), train=replace(config.train, batch_size=2))


def epoch_seconds(config: Config, bench: Bench) -> float:
    """How long the second epoch takes, its evaluation and checkpoint included."""
    ends: list[float] = []
    train = replace(config.train, epochs=PROBED)
    fit(replace(config, train=train), World(device=bench.device), on_epoch=lambda _: ends.append(time.time()))
    return ends[-1] - ends[-2]


def train_until(config: Config, bench: Bench, name: str, until: float) -> None:
    """Trains, writes the best epoch so far after each one, and stops in time if epochs took longer."""
    world, started = World(device=bench.device), time.time()
    best: dict[str, Any] = {}

    def note(record: dict[str, Any]) -> None:
        best.update(record if record["miou"] > best.get("miou", -1) else {})
        if time.time() > until and not bench.tiny:
            world.stop_asked = True

    result = fit(config, world, on_epoch=note)
    bench.row(
        "quality",
        recipe=name,
        minutes=(time.time() - started) / 60,
        epochs=float(result.epochs),
        planned=float(config.train.epochs),
        batch=float(config.train.batch_size),
        mIoU=best["miou"],
        mean_F1=best["mean_f1"],
        report_F1=best["report_f1"],
        boundary_mIoU=best["boundary_miou"],
        best_epoch=float(best["epoch"]),
        weights=best["weights"],
    )
    for label, value in best["iou"].items():
        bench.row(f"IoU by class, {name}", label=label, IoU=value)
    draw_run(Path(config.output))
