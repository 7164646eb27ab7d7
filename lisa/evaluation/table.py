"""An evaluation's figures as a table for the terminal."""

from itertools import zip_longest
from typing import Any

from rich.markup import escape
from rich.table import Table


def class_table(record: dict[str, Any], title: str) -> Table:
    """Lays out IoU, F1 and boundary IoU of each class, and their means, in two halves side by side."""
    columns = ("iou", "f1", "boundary_iou")
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    for _ in range(2):
        table.add_column("class")
        for header in ("IoU", "F1", "bIoU"):
            table.add_column(header, justify="right")
    cells = [(name, *(_percent(record[column][name]) for column in columns)) for name in record["iou"]]
    means = (_percent(record[key]) for key in ("miou", "mean_f1", "boundary_miou"))
    cells.append(("[bold]mean", *(f"[bold]{mean}" for mean in means)))
    half = -(-len(cells) // 2)
    for left, right in zip_longest(cells[:half], cells[half:], fillvalue=("",) * 4):
        table.add_row(*left, *right)
    table.caption = _caption(record)
    return table


def _caption(record: dict[str, Any]) -> str:
    lines = [
        f"mean F1 without background {_percent(record['mean_f1_without_background'])}",
        f"per-image F1 as the report counts it {_percent(record['report_f1'])}",
        "bIoU is boundary IoU",
    ]
    if "left_right_confusion" in record:
        lines[-1] = f"left taken for right {_percent(record['left_right_confusion'])} %; {lines[-1]}"
    if record.get("miou_interval"):
        low, high = record["miou_interval"]
        lines.append(f"mIoU's 95 % interval over pictures: {_percent(low)} to {_percent(high)}")
    if record.get("exploded_pictures"):
        exploded = record["exploded_pictures"]
        lines.append(f"pictures whose logits explode, and whose labels may be nonsense: {exploded}")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
