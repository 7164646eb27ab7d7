"""Runs the parts one after another, each in a process of its own that ends with its share of the time."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.report import OUTCOME, write_report
from lisa.system.files import make_folders, write_json

ROOT = Path(__file__).resolve().parents[2]

SOFT = 0.85
"""The share of its time after which a part should begin nothing new."""

LOG = "log.txt"


class Part(NamedTuple):
    """A module with ``run(bench)``. Its time is its weight's share of the time that is left."""

    name: str
    weight: float
    title: str
    module: str = ""

    @property
    def where(self) -> str:
        """The module's dotted name."""
        return self.module or f"benchmarks.gpu.parts.{self.name}"


def run_parts(
    parts: Sequence[Part],
    all_parts: Sequence[Part],
    bench: Bench,
    minutes: float,
    say: Callable[[str], None],
) -> list[str]:
    """Runs ``parts`` of ``all_parts`` and reports after each; returns the names of those that failed.

    ``bench.output`` is the folder of them all. What a part does not use of its time is left to the later
    ones. Parts that ran before in this folder keep their place in the report until they run again.
    """
    end, output = time.monotonic() + 60 * minutes, Path(bench.output)
    failed: list[str] = []
    for number, part in enumerate(parts):
        left = end - time.monotonic()
        limit = left * part.weight / sum(each.weight for each in parts[number:])
        say(f"{part.name}: {part.title}, at most {max(0, limit):.0f} s")
        started = time.monotonic()
        outcome = run_part(part, bench, limit) if limit > 0 else "not begun: no time left"
        seconds = time.monotonic() - started
        say(f"  {outcome}, {seconds:.0f} s")
        if outcome != "finished":
            failed.append(part.name)
        if limit <= 0 and (output / part.name / OUTCOME).exists():
            continue  # measured by an earlier command
        make_folders([output / part.name])
        about = {"part": part.name, "title": part.title, "outcome": outcome}
        write_json(output / part.name / OUTCOME, {**about, "seconds": seconds, "limit": max(0.0, limit)})
        write_report(output, [each.name for each in all_parts])
    return failed


def run_part(part: Part, bench: Bench, limit: float) -> str:
    """How the part ended, in a line: "finished", or why not; all that it printed is in its log."""
    folder = Path(bench.output) / part.name
    shutil.rmtree(folder, ignore_errors=True)
    make_folders([folder])
    deadline = time.time() + SOFT * limit
    task = Bench(bench.data, str(folder), bench.device_name, bench.tiny, deadline)
    command = [sys.executable, "-m", "benchmarks.gpu.worker", part.where, task.to_json()]
    with (folder / LOG).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return f"ended after its {limit:.0f} s; what it had measured by then is here"
        finally:
            if process.poll() is None:  # too late, or the driver itself is being ended
                os.killpg(process.pid, signal.SIGKILL)  # the loader's processes ignore SIGTERM
                process.wait()
    if code == 0:
        return "finished"
    lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1][:300] if lines else "no word"
    return f"failed with exit code {code}: {reason} (the traceback is in {part.name}/{LOG})"
