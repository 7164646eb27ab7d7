"""The rows of the report's Tables 2 to 5: what each changes in the recipe, and the report's figures."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import mean, stdev
from typing import Any, NamedTuple

from lisa.config import Config
from lisa.config.schema import AugmentConfig
from lisa.config.shapes import SHAPES
from lisa.errors import InputError
from lisa.labels.celebamask import CELEBAMASK
from tune.space import Point


class Row(NamedTuple):
    """A row: its name, what it changes, and the report's val mIoU in % and F1."""

    name: str
    changes: dict[str, dict[str, Any]]
    miou: float
    f1: float


_NO_JITTER = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
_THEIRS = ("flip", "rotation", *_NO_JITTER)
_ALONE = {field.name: 0.0 for field in fields(AugmentConfig) if field.name not in _THEIRS}
"""Augmentation that the report does not have, switched off: a row of Table 3 has what its name says and no
more.

The other tables keep the recipe's own (docs/tune.md)."""

TABLES: dict[int, tuple[str, tuple[Row, ...]]] = {
    2: (
        "networks under two million parameters",
        (
            Row("UNet", {"model": {"name": "unet"}}, 68.03, 0.81),
            Row("SegNeXt", {"model": {"name": "segnext"}}, 65.65, 0.83),
            Row("LISA", {"model": {"name": "lisa"}}, 75.04, 0.88),
        ),
    ),
    3: (
        "augmentation",
        (
            Row("none", {"augment": {**_ALONE, **_NO_JITTER, "rotation": 0.0, "flip": 0.0}}, 71.64, 0.84),
            Row("flip", {"augment": {**_ALONE, **_NO_JITTER, "rotation": 0.0}}, 73.02, 0.87),
            Row("flip, rotation", {"augment": {**_ALONE, **_NO_JITTER}}, 74.16, 0.88),
            Row("flip, rotation, colour jitter", {"augment": _ALONE}, 75.04, 0.88),
        ),
    ),
    4: (
        "loss",
        (
            Row("Dice", {"loss": {"cross_entropy": 0.0, "lovasz": 0.0}}, 71.33, 0.84),
            Row("CE", {"loss": {"dice": 0.0, "lovasz": 0.0}}, 73.74, 0.85),
            Row("CE + Dice", {"loss": {"lovasz": 0.0}}, 75.04, 0.88),
        ),
    ),
    5: (
        "activation",
        (
            Row("ReLU", {"model": {"activation": "relu"}}, 74.08, 0.87),
            Row("GELU", {"model": {"activation": "gelu"}}, 74.55, 0.88),
            Row("PReLU", {"model": {"activation": "prelu"}}, 75.04, 0.88),
        ),
    ),
}


_NAMED: dict[int, dict[str, tuple[str, ...]]] = {
    3: {"augment.flip": ("flip",), "augment.rotation": ("rotation",), "colour jitter": tuple(_NO_JITTER)},
    4: {"loss.cross_entropy": ("cross_entropy",), "loss.dice": ("dice",)},
}
"""What a table's rows name and take from the recipe as it is: not all of it may be 0 there."""


@dataclass(frozen=True)
class Ablation:
    """A table's rows over one recipe and some seeds.

    Raises InputError for a recipe that has nothing of what a row names or needs, or weights that only one row
    can begin with.
    """

    base: Config
    table: int

    def __post_init__(self) -> None:
        name = self.base.model.name
        if self.table == 5 and name not in SHAPES:
            raise InputError(f"table 5 has rows with LISA's activations, which {name} has not")
        if self.table == 2 and name not in SHAPES:  # whose config has lost what it had for LISA
            raise InputError(
                f"table 2's rows name the network: leave out --model.name {name}, which takes the bound from "
                "LISA's row"
            )
        init = self.base.train.init
        if self.table in (2, 5) and init:
            raise InputError(
                f"--init {init}: weights of one network, table {self.table} compares several: give --init ''"
            )
        for what, options in _NAMED.get(self.table, {}).items():
            section = self.base.augment if self.table == 3 else self.base.loss
            if not any(getattr(section, option) for option in options):
                raise InputError(f"table {self.table} has rows with {what}, which the recipe sets to 0")

    @property
    def rows(self) -> tuple[Row, ...]:
        """The table's rows, in the report's order."""
        return TABLES[self.table][1]

    def config(self, point: Point) -> Config:
        """The recipe with the changes of the point's row, and its seed."""
        changed = replace(self.base, train=replace(self.base.train, seed=point["seed"]))
        for section, values in self.rows[point["row"]].changes.items():
            changed = replace(changed, **{section: replace(getattr(changed, section), **values)})
        return changed


def markdown(ablation: Ablation, results: Sequence[tuple[Point, dict[str, Any]]], command: str) -> str:
    """The table with the report's figures beside ours: mean and standard deviation over the seeds."""
    title, rows = TABLES[ablation.table]
    base = ablation.base
    lines = [
        f"# Table {ablation.table}: {title}",
        "",
        f"    {command}",
        "",
        f"Ours: {base.train.epochs} epochs at {base.data.size}x{base.data.size}; best val mIoU of a run and "
        "the report's F1 at that epoch; mean ± standard deviation over the seeds. The report's: 100 epochs "
        f"at 512x512 on 5,000 pictures{_other_labels(base)}.",
        "",
        "| row | parameters | seeds | mIoU, ours | mIoU, report | F1, ours | F1, report |",
        "|---|---|---|---|---|---|---|",
    ]
    for index, row in enumerate(rows):
        mine = [result for point, result in results if point["row"] == index and "best_miou" in result]
        if not mine:
            lines.append(f"| {row.name} | - | 0 | - | {row.miou:.2f} | - | {row.f1:.2f} |")
            continue
        diverged = sum(result["diverged"] for result in mine)
        seeds = f"{len(mine)}" + (f" ({diverged} diverged, as 0)" if diverged else "")
        miou = _spread([100 * result["best_miou"] for result in mine])
        f1 = _spread([result["best_report_f1"] for result in mine], digits=3)
        cells = [row.name, f"{mine[0]['parameters']:,}", seeds, miou, f"{row.miou:.2f}", f1, f"{row.f1:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _other_labels(base: Config) -> str:
    if base.labels == CELEBAMASK:
        return ""
    return f", with CelebAMask-HQ's 19 labels: not to be compared with ours, of label set {base.labels.name}"


def _spread(values: Sequence[float], digits: int = 2) -> str:
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"
