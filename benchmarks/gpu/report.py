"""``report.json`` and ``report.md``: everything that is known by now, written anew after each part."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import ROWS
from lisa.system.files import write_json, write_whole

ABOUT, OUTCOME = "about.json", "outcome.json"

REHEARSAL = "**A rehearsal at tiny sizes: no figure here is a result.**"


def write_report(output: Path, order: Sequence[str]) -> None:
    """Writes both files from what lies in the parts' folders; ``order`` names all parts."""
    parts = [read_part(output / name) for name in order if (output / name / OUTCOME).exists()]
    about = json.loads((output / ABOUT).read_text(encoding="utf-8"))
    write_json(output / "report.json", {"about": about, "parts": parts})
    write_whole(output / "report.md", markdown(about, parts).encode())


def read_part(folder: Path) -> dict[str, Any]:
    """How a part ended, its notes, and its tables: rows by title."""
    part: dict[str, Any] = json.loads((folder / OUTCOME).read_text(encoding="utf-8"))
    part |= {"notes": [], "tables": {}}
    if not (folder / ROWS).exists():
        return part
    for text in (folder / ROWS).read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # the part was killed in the middle of its last line
            part["notes"].append("the last row was cut off")
            continue
        if "note" in line:
            part["notes"].append(line["note"])
        else:
            part["tables"].setdefault(line["table"], []).append(line["row"])
    return part


def markdown(about: dict[str, str], parts: list[dict[str, Any]]) -> str:
    """The report for people."""
    lines = ["# One GPU", ""]
    if about.get("rehearsal"):
        lines += [REHEARSAL, ""]
    lines += [f"- {name}: {value}" for name, value in about.items() if name != "rehearsal"]
    for part in parts:
        outcome = f"{part['outcome']}; {part['seconds']:.0f} s of {part['limit']:.0f} s"
        lines += ["", f"## {part['part']}: {part['title']}", "", outcome]
        for note in part["notes"]:
            lines += ["", note]
        for title, rows in part["tables"].items():
            lines += ["", f"{title}:", "", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A Markdown table with a column for each name that a row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[cell(row.get(name)) for name in columns] for row in rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def cell(value: str | float | bool | None) -> str:
    """Four digits of a number; text in one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
