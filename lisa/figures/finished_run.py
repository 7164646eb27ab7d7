"""The figures of a finished run: curves and a grid."""

from pathlib import Path

from lisa.figures.comparison import draw_grid
from lisa.figures.curves import draw_curves
from lisa.run.checkpoint import load_network
from lisa.run.names import BEST, LOG


def draw_run(folder: Path) -> None:
    """Draws ``curves.png`` and ``grid.png`` into a finished run's folder."""
    draw_curves(folder / LOG, folder / "curves.png")
    draw_grid(load_network(folder / BEST), folder / "grid.png")
