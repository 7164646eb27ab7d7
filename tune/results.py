"""Writes what a search found: the best config, a leaderboard, plots."""

import csv
import io
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lisa.config import Config
from lisa.errors import InputError
from lisa.system.files import make_folders, write_whole
from tune.experiment import Outcome
from tune.plots import draw_plots
from tune.space import Space
from tune.storage import file_system, is_url

MEASURED = ("best_miou", "miou", "epoch", "parameters", "latency_ms", "diverged", "node")


def order_by_score(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes with a result, the best first."""
    scored = [outcome for outcome in outcomes if "best_miou" in outcome.result]
    return sorted(scored, key=lambda outcome: outcome.result["best_miou"], reverse=True)


def best_config(space: Space, outcomes: Sequence[Outcome], output: str) -> Config:
    """The best trial's config at the recipe's full budget. Raises InputError if no trial has a score."""
    ranking = order_by_score(outcomes)
    if not ranking or ranking[0].result["diverged"]:
        failed = next((outcome.error for outcome in outcomes if outcome.error), "all diverged")
        raise InputError(f"no trial came to a score: {failed}")
    return replace(space.config(ranking[0].point), output=output)


def write_results(
    results: str, space: Space, outcomes: Sequence[Outcome], two_objectives: bool, console: Console
) -> Path:
    """Writes best.json, leaderboard.csv and the plots; returns best.json's path on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="lisa-search-")) if is_url(results) else Path(results)
    make_folders([folder])
    config = best_config(space, outcomes, str(folder / "best"))
    write_whole(folder / "best.json", (config.to_json() + "\n").encode())
    write_whole(folder / "leaderboard.csv", leaderboard(outcomes).encode())
    drawn = draw_plots(folder, space, outcomes, two_objectives)
    if is_url(results):
        files, root = file_system(results)
        for name in ("best.json", "leaderboard.csv", *drawn):
            files.put_file(str(folder / name), f"{root}/{name}")
    console.print(_short(outcomes))
    console.print(
        f"{results}: best.json, leaderboard.csv, {', '.join(drawn)}", highlight=False, soft_wrap=True
    )
    return folder / "best.json"


def leaderboard(outcomes: Sequence[Outcome]) -> str:
    """CSV, a trial a line, the best first; trials that failed at the end, with their error."""
    order = order_by_score(outcomes)
    order += [outcome for outcome in outcomes if outcome not in order]
    names = list(order[0].point)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", "trial", *MEASURED, *names, "error"])
    for rank, outcome in enumerate(order, 1):
        measured = [outcome.result.get(name, "") for name in MEASURED]
        point = [outcome.point[name] for name in names]
        writer.writerow([rank, outcome.trial, *measured, *point, outcome.error])
    return stream.getvalue()


def _short(outcomes: Sequence[Outcome]) -> Table:
    """The ten best for the terminal."""
    table = Table("trial", "best mIoU", "epochs", "params", title="the best trials", title_justify="left")
    for outcome in order_by_score(outcomes)[:10]:
        result = outcome.result
        miou = "diverged" if result["diverged"] else f"{100 * result['best_miou']:.2f}"
        table.add_row(outcome.trial, miou, str(result["epoch"]), f"{result['parameters']:,}")
    return table
