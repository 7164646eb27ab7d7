"""What became of the pictures: counted, summarised on the screen, and told by the exit code."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console

from .console import say
from .errors import CannotStartError
from .inputs import Job
from .model import SANE

REPORT_FILE = "report.json"
"""In the output folder: the settings, and all that a Report counts."""


@dataclass
class Outcome:
    """What became of one picture; ``reason`` is empty if all went well."""

    job: Job
    reason: str = ""
    faces: int | None = None
    """Of a photo; None for a picture that was parsed as one frame."""
    oblong: bool = False
    """It was parsed as one frame, but is no square."""
    largest: float = 0.0
    """|logit| of the picture or of its faces."""


@dataclass
class Seconds:
    """Where a stream's time went; the network's includes the wait for its turn on a GPU."""

    decode: float = 0.0
    network: float = 0.0
    encode: float = 0.0

    @contextlib.contextmanager
    def spent_on(self, part: str) -> Generator[None]:
        """Adds the time inside the block to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)


@dataclass
class Report:
    """What the closing summary and report.json say."""

    total: int = 0
    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    """Pictures that are done, but whose logits are not sane: the largest one."""
    seconds: float = 0.0
    split: Seconds = field(default_factory=Seconds)
    interrupted: bool = False
    again: str = ""
    """What the same command does after an end before its time."""
    aligned: int = 0
    """Pictures done as one frame that a face fills."""
    photos: int = 0
    """Pictures done as whole photographs."""
    faces: int = 0
    """Faces found in those."""
    unit: str = "photographs"
    """What they are."""
    oblong: int = 0
    """Pictures done as one frame that are no squares."""
    advice: str = ""
    """What to do with pictures that look like photographs and were done as one frame."""
    without_face: int = 0
    """Photographs among them in which none was found."""

    def count(self, outcome: Outcome, where: str) -> None:
        """Adds a picture."""
        if outcome.reason:
            self.failed[where] = outcome.reason
            return
        self.done += 1
        if not outcome.largest <= SANE:  # nan too
            self.doubtful[where] = f"|logit| {outcome.largest:.2g}"
        self.aligned += outcome.faces is None
        self.oblong += outcome.oblong
        self.photos += outcome.faces is not None
        self.faces += outcome.faces or 0
        self.without_face += outcome.faces == 0

    @property
    def rate(self) -> float:
        """Pictures per second of this run, without loading."""
        return self.done / self.seconds if self.seconds else 0.0

    @contextlib.contextmanager
    def writing(self, name: str) -> Generator[None]:
        """Inside, a file of the whole run is written: if it can't be, that is told at the end."""
        try:
            yield
        except OSError as error:
            self.failed[name] = f"not written: {error.strerror or error}"

    def content(self, options: argparse.Namespace, settings: dict[str, Any]) -> bytes:
        """report.json of a run with these options and settings."""
        content = {
            "model": str(options.model),
            "settings": {**settings, "labels": options.labels},  # settings_of calls the own order celebamask
            **asdict(self),
            "pictures_per_second": self.rate,
        }
        return json.dumps(content, indent=1).encode()


def summarise(report: Report, console: Console) -> None:
    """What was done and where the time went."""
    for source, reason in list(report.failed.items())[:20]:
        console.print(
            f"failed: {source}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    if len(report.failed) > 20:
        console.print(f"... and {len(report.failed) - 20} more, all in {REPORT_FILE}")
    counts = f"{report.done} done, {report.skipped} done before, {len(report.failed)} failed"
    split = asdict(report.split)
    busy = sum(split.values())
    shares = ", ".join(f"{part} {100 * value / busy:.0f} %" for part, value in split.items()) if busy else ""
    rate = f"{report.rate:.1f}" if report.rate >= 1 else f"{report.rate:.2g}"
    line = f"{counts}; {rate} pictures/s" + (f" ({shares})" if shares else "")
    console.print(line, highlight=False, soft_wrap=True)
    if report.oblong and not report.photos:
        say(f"{report.oblong} done as frames look like photographs: {report.advice}", console)
    if report.photos:
        found = f"{report.faces} face{'s' * (report.faces != 1)} in {report.photos} {report.unit}"
        without = f", none in {report.without_face} of them" if report.without_face else ""
        aligned = f"; {report.aligned} taken as aligned faces" if report.aligned else ""
        console.print(f"{found}{without}{aligned}", highlight=False, soft_wrap=True)
    if report.doubtful:
        names = ", ".join(list(report.doubtful)[:5]) + (", ..." if len(report.doubtful) > 5 else "")
        say(
            f"{len(report.doubtful)} maps may be nonsense, the network's numbers explode there: {names}",
            console,
        )
    if report.interrupted:
        console.print(f"interrupted: {report.again}")


def exit_code_of(work: Callable[[], Report], console: Console) -> int:
    """Runs the work and prints its summary, or the line of what kept it from starting.

    The code: 0 all done, 1 some pictures failed, 2 nothing could start, 130 interrupted.
    """
    try:
        report = work()
    except CannotStartError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except PermissionError as error:  # asking whether a file is there may already be forbidden
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    summarise(report, console)
    if report.interrupted:
        return 130
    return 1 if report.failed else 0
