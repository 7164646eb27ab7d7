"""A whole video: its label maps as a lossless video, its overlay, and its faces frame by frame."""

import argparse
import contextlib
import json
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..console import say
from ..errors import CannotStartError, said
from ..files import changed_at, printable, version_of, whole_file, write_whole
from ..inputs import SETTINGS_FILE, VIDEOS_ALONE, Job
from ..model import ExportedModel
from ..output_folder import (
    FAILED,
    claim,
    forget,
    made_since,
    prepare_output,
    refuse_foreign,
    refuse_replacing,
    sole_writer,
)
from ..outputs import FACES, OWN, Writer, blend, with_palette
from ..photo_options import STRETCH, open_photos
from ..photos import Parsed, is_square, rows_of
from ..report import REPORT_FILE, Outcome, Report
from .media import Film, Frame, media_errors
from .tracking import Track, Tracker
from .written import Ids, Overlay

IDS, OVERLAY = "ids", "overlay"


def predict_video(
    options: argparse.Namespace,
    model: ExportedModel,
    writer: Writer,
    settings: dict[str, Any],
    console: Console,
) -> Report:
    """Parses the video that ``--input`` names. Raises CannotStartError."""
    film = Film(Path(options.input), options.max_pixels)
    with contextlib.closing(film), sole_writer(options.output), sigterm_as_ctrl_c():
        targets = _targets(options, film)
        refuse_replacing(map(os.path.realpath, targets.values()), [os.path.realpath(film.path)])
        _refuse_others(options, film, targets)
        prepare_output(options.output)
        settings = {**settings, "steady": options.steady, "video": os.path.realpath(film.path)}
        note = options.output / _note_of(film)
        since, told = made_since(
            options.output, settings, options.overwrite, lambda: _not_asked(film, targets), note.name
        )
        version = version_of(film.path)
        since = max(since, changed_at(film.path))
        done = all(path.is_file() and path.stat().st_mtime >= since for path in targets.values())
        if done and not _noted(note).get(FAILED):
            report = Report(total=1, skipped=1, unit="frames")
            former = _noted(options.output / REPORT_FILE).get("settings", {})
            if former.get("video") != settings["video"]:  # it would be taken for this one's
                forget(options.output, [REPORT_FILE])
                _write_report(options, settings, report)
            return report
        tracker = Tracker(model, open_photos(options, model, options.model), options.steady)
        for text in told:
            say(text, console)
        _begin(options.output, note.name, settings)
        forget(options.output, [REPORT_FILE])  # of an earlier run: it would be taken for this one's
        report = Report(unit="frames", advice=options.advice, again="the same command starts anew")
        start = time.perf_counter()
        try:
            _drive(film, tracker, _Outputs(film, targets, writer), report, console)
            if version_of(film.path) not in (None, version):
                film.reason = film.reason or "was replaced while it was parsed"
            if film.reason:
                kept = "what was readable is written" if report.done else "nothing was readable"
                report.failed[printable(film.path)] = f"{film.reason}: {kept}"
        except KeyboardInterrupt:
            report.interrupted = True
        except (*media_errors(), RuntimeError, MemoryError) as error:  # a full disk, a lost device
            report.failed[printable(film.path)] = f"{said(error)}: nothing is written"
            report.done = 0
        report.seconds = time.perf_counter() - start
        report.total = report.done
        if report.failed:
            with report.writing(note.name):
                write_whole(note, json.dumps({**settings, FAILED: True}, indent=1).encode())
        _write_report(options, settings, report)
        return report


def _write_report(options: argparse.Namespace, settings: dict[str, Any], report: Report) -> None:
    with report.writing(REPORT_FILE):
        write_whole(options.output / REPORT_FILE, report.content(options, settings))


@contextlib.contextmanager
def sigterm_as_ctrl_c() -> Generator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt, so that no half-written file is left."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse_others(options: argparse.Namespace, film: Film, targets: dict[str, Path]) -> None:
    """Raises CannotStartError for files of these names that are not this video's."""
    there = [path for path in targets.values() if os.path.lexists(path)]
    folder, own = options.output / SETTINGS_FILE, options.output / _note_of(film)
    report = options.output / REPORT_FILE
    if not os.path.lexists(folder):
        refuse_foreign([*there, *([report] if os.path.lexists(report) else [])])
    path, before = os.path.realpath(film.path), _noted(folder)  # where older predictors noted the last video
    other = path if before.get("video") == path else _noted(own).get("video")
    if there and other != path and not options.overwrite:
        whose = f"of {other}" if other else "of another run"
        raise CannotStartError(f"{there[0]} is {whose}: choose another --output, or --overwrite")


def _note_of(film: Film) -> str:
    """The file that says what made this video's outputs: a folder may hold those of many."""
    return f".predict-{film.path.stem}.json"


def _not_asked(film: Film, targets: dict[str, Path]) -> list[str]:
    """What the predictor has left of this video that the run no longer writes."""
    folder = targets[IDS].parent
    kinds = (*(f"overlay{suffix}" for suffix in (".mp4", ".mkv")), "faces.json")
    left = (folder / f"{film.path.stem}.{kind}" for kind in kinds)
    return [path.name for path in left if path not in targets.values() and path.exists()]


def _begin(folder: Path, note: str, settings: dict[str, Any]) -> None:
    """Notes the settings, before any output is there, and that the folder is a predictor's.

    Raises CannotStartError.
    """
    claim(folder, settings, note)
    try:
        if not os.path.lexists(folder / SETTINGS_FILE):
            write_whole(folder / SETTINGS_FILE, VIDEOS_ALONE)
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def _noted(path: Path) -> dict[str, Any]:
    """A JSON object that an earlier run left; nothing if it left none."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def refuse_for_videos(options: argparse.Namespace) -> None:
    """Raises CannotStartError for options that are for pictures alone."""
    asked = {
        "--gallery": options.gallery,
        "--color": options.color,
        "--parts": options.parts,
        "--cutout": options.cutout,
        "--probabilities": options.probabilities,
        "--face-maps": options.face_maps,
        "--labels": options.labels != OWN,
        "--fit": options.fit != STRETCH,
        "--faces FILE": options.listed is not None,
    }
    for name, value in asked.items():
        if value:
            raise CannotStartError(f"{name}: for pictures; videos give id maps, --overlay and faces")


def _targets(options: argparse.Namespace, film: Film) -> dict[str, Path]:
    names = {IDS: f"{film.path.stem}.ids.mkv"}
    if options.overlay:
        names[OVERLAY] = f"{film.path.stem}.overlay{Overlay.suffix(film)}"
    if options.finds:
        names[FACES] = f"{film.path.stem}.faces.json"
    return {kind: options.output / name for kind, name in names.items()}


def _drive(film: Film, tracker: Tracker, outputs: "_Outputs", report: Report, console: Console) -> None:
    """All frames that can be read."""
    job = Job(film.path, film.path.stem)
    columns = (TextColumn("parsing"), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with outputs, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=film.end or film.container_end or None)
        for frame in film.frames(outputs.hear):
            with report.split.spent_on("network"):
                parsed = tracker.parse(job, frame.pixels)
            with report.split.spent_on("encode"):
                outputs.add(frame, parsed, tracker.shown)
            faces = None if parsed.faces is None else len(parsed.faces)
            outcome = Outcome(job, faces=faces, oblong=not is_square(frame.pixels), largest=parsed.largest)
            report.count(outcome, f"{printable(film.path)} at {frame.seconds:.2f} s")
            progress.update(task, completed=frame.seconds, description=f"{frame.seconds:.1f} s")


class _Outputs:
    """The files of one video. They are begun with the first frame, and appear whole as the block ends."""

    def __init__(self, film: Film, targets: dict[str, Path], writer: Writer) -> None:
        self.film, self.targets, self.writer = film, targets, writer
        self.ids: Ids | None = None
        self.overlay: Overlay | None = None
        self.rows: TextIO | None = None
        self._stack = contextlib.ExitStack()
        self._early: list[Any] = []
        self._count = 0

    def __enter__(self) -> None:
        self._stack.__enter__()

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def hear(self, packet: Any) -> None:
        """Sound; what comes before the first picture waits for it."""
        if self.overlay is not None:
            self.overlay.hear(packet)
        elif OVERLAY in self.targets:
            self._early.append(packet)

    def add(self, frame: Frame, parsed: Parsed, tracks: list[Track]) -> None:
        """The next frame and its faces."""
        if self.ids is None:
            self.ids = self._open(*frame.pixels.shape[:2])
        self.ids.add(parsed.labels, frame.time)
        if self.overlay is not None:
            shown = blend(frame.pixels, with_palette(parsed.labels, self.writer.palette))
            self.overlay.add(np.asarray(shown), frame.time)
        if self.rows is not None:
            found = rows_of(parsed, self.writer.names, self.writer.inner)
            numbers = [track.number for track in tracks] if found else []
            faces = [{"track": number, **row} for number, row in zip(numbers, found, strict=True)]
            row = {"frame": self._count, "seconds": round(frame.seconds, 4), "faces": faces}
            self.rows.write(("[\n" if self._count == 0 else ",\n") + json.dumps(row))
        self._count += 1

    def _open(self, height: int, width: int) -> Ids:
        parts = {kind: self._stack.enter_context(whole_file(path)) for kind, path in self.targets.items()}
        if FACES in parts:
            self.rows = self._stack.enter_context(parts[FACES].open("w", encoding="utf-8"))
            self._stack.callback(self.rows.write, "\n]\n")
        if OVERLAY in parts:
            self.overlay = Overlay(parts[OVERLAY], self.film, height, width)
            self._stack.callback(self.overlay.close)
            for packet in self._early:
                self.overlay.hear(packet)
        ids = Ids(parts[IDS], self.film, height, width)
        self._stack.callback(ids.close)
        return ids
