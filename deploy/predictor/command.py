"""The command line, and a whole run."""

import argparse
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .console import say
from .errors import CannotStartError, DeviceLostError
from .files import is_there, printable, write_whole
from .gallery import GALLERY, write_gallery
from .inputs import SETTINGS_FILE, Job, find_pictures, has_outputs
from .machine import choose_devices, choose_precision, cores, keep_freed_memory
from .model import ExportedModel, check_sha256, read_metadata, refuse_flip
from .onnx_files import choose_runtime, is_onnx, settle_for_onnx
from .options import arguments
from .output_folder import (
    NEVER,
    claim,
    forget,
    made_since,
    prepare_output,
    refuse_collisions,
    refuse_foreign,
    refuse_replacing,
    sole_writer,
)
from .outputs import CELEBAMASK, CELEBAMASK_NAMES, FACES, OWN, Writer, already_done, refuse_anothers
from .photo_options import faces_of, join_faces, open_photos, settle_faces
from .report import REPORT_FILE, Outcome, Report, exit_code_of
from .streams import BATCH_PIXELS, Batches, Stream, run
from .video.media import is_video
from .video.run import predict_video, refuse_for_videos

MAX_STREAMS = 8
"""Each CPU stream holds the maps of one picture, some 300 MB at 512x512."""

MAX_GPU_STREAMS = 32
"""A stream of a GPU holds no maps, but 50 MB of pictures; more of them wait for Python's lock."""

GPU_BATCH = 16


def count_streams(workers: int, devices: list[torch.device], jobs: int) -> int:
    """Streams per device: on CPUs they share the cores and hold maps, on GPUs they decode and encode."""
    if devices[0].type == "cpu":
        wanted = workers or min(MAX_STREAMS, cores())
    else:
        wanted = workers or max(2, min(MAX_GPU_STREAMS, cores() // len(devices)))
    return min(wanted, jobs)


def choose_batch(size: int, device: torch.device, streams: int, jobs: int) -> int:
    """Pictures at once; at the end no stream may hold what others wait for."""
    if size or device.type == "cpu":
        return size or 1
    return min(GPU_BATCH, -(-jobs // streams))


def open_model(options: argparse.Namespace, device: torch.device, streams: int = 1) -> ExportedModel:
    """The model on a device. Raises CannotStartError."""
    return ExportedModel(
        options.model,
        device,
        choose_precision(options.precision, device),
        options.tta == "flip",
        options.probabilities or bool(options.cutout),
        options.runtime,
        streams,
    )


def make_streams(
    options: argparse.Namespace,
    devices: list[torch.device],
    writer: Writer,
    streams: int,
    batch: int,
    jobs: int,
) -> list[Stream]:
    """The streams of all devices, for so many pictures."""
    threads = max(1, cores() // (streams * len(devices)))
    made: list[Stream] = []
    for device in devices:
        model = open_model(options, device, streams)
        photos = open_photos(options, model, options.model)
        torch.set_num_threads(threads)
        pixels = model.metadata["size"] ** 2
        model.warm_up(min(batch, jobs, max(1, BATCH_PIXELS // pixels)))
        stream = Stream(model, writer, threads, options.fit, options.max_pixels, photos)
        made += [stream] * streams
    return made


def settings_of(options: argparse.Namespace, writer: Writer, digest: str, precision: str) -> dict[str, Any]:
    """Whatever changes a label map, and the ids of what ``--parts`` and ``--cutout`` ask for."""
    # The own order was called celebamask before there were other label sets: finished outputs are still done.
    moved = sorted(writer.names) == sorted(CELEBAMASK_NAMES) and [*CELEBAMASK_NAMES] != writer.names
    labels = CELEBAMASK if options.labels == OWN and not moved else options.labels
    settings: dict[str, Any] = {
        "model_sha256": digest,
        "precision": precision,
        "fit": options.fit,
        "tta": options.tta,
        "labels": labels,
    }
    if is_onnx(options.model):
        settings["runtime"] = options.runtime
    if options.finds:
        settings["faces"] = options.finds
    settings |= {f"parts/{name}": ids for name, ids in writer.parts.items()}
    return {**settings, "cutout": writer.cutout} if writer.cutout else settings


def notes_of(options: argparse.Namespace) -> list[str]:
    """What a run writes beside the pictures' outputs."""
    asked = {f"{GALLERY}.html": options.gallery, f"{FACES}.json": options.finds, REPORT_FILE: True}
    return [name for name, wanted in asked.items() if wanted]


def goes_on_from_here(options: argparse.Namespace) -> str:
    """What to do after an end before its time: a second --overwrite would begin anew."""
    return f"the same command{' without --overwrite' if options.overwrite else ''} goes on from here"


def predict(options: argparse.Namespace, console: Console) -> Report:
    """The whole run. Raises CannotStartError."""
    digest = check_sha256(options.model, options.sha256)
    metadata = read_metadata(options.model)
    settle_faces(options, metadata)
    if options.tta == "flip":
        refuse_flip(metadata)
    writer = Writer(metadata, options)
    options.runtime = choose_runtime(options.runtime, options.model)
    if options.runtime != "torch":
        options.device, options.precision = settle_for_onnx(
            options.runtime, options.device, options.precision
        )
    devices = choose_devices(options.device)
    if is_video(Path(options.input)):
        refuse_for_videos(options)
        model = open_model(options, devices[0])
        torch.set_num_threads(cores())
        model.warm_up()
        settings = settings_of(options, writer, digest, choose_precision(options.precision, devices[0]))
        return predict_video(options, model, writer, settings, console)
    if options.steady:
        raise CannotStartError("--steady: for videos")
    if options.output.resolve() == Path(options.input).resolve():
        raise CannotStartError(
            f"--output {options.output}: is the input folder, outputs would replace pictures"
        )
    jobs = find_pictures(options.input, options.output, lambda text: say(text, console))
    if options.listed is not None:
        options.listed = faces_of(jobs, options.listed)
    refuse_collisions(writer.outputs, jobs)
    targets = [target for job in jobs for target in writer.targets(job)]
    refuse_replacing(map(os.path.realpath, targets), (os.path.realpath(job.source) for job in jobs))
    if not has_outputs(options.output):
        videos = os.path.lexists(options.output / SETTINGS_FILE)  # whose report is there
        notes = [name for name in notes_of(options) if not (videos and name == REPORT_FILE)]
        targets += [options.output / name for name in notes]
        refuse_foreign(filter(is_there, targets))
    with sole_writer(options.output):
        return _predict(options, writer, devices, digest, jobs, console)


def _predict(
    options: argparse.Namespace,
    writer: Writer,
    devices: list[torch.device],
    digest: str,
    jobs: list[Job],
    console: Console,
) -> Report:
    """What writes into the output folder."""
    if not options.overwrite:
        refuse_anothers(options.output, writer, jobs)
    prepare_output(options.output)
    settings = settings_of(options, writer, digest, choose_precision(options.precision, devices[0]))
    since, told = made_since(options.output, settings, options.overwrite, writer.others)
    todo = [job for job in jobs if not already_done(writer, job, since)]
    report = Report(total=len(jobs), skipped=len(jobs) - len(todo), again=goes_on_from_here(options))
    report.advice = options.advice
    if todo:
        count = count_streams(options.workers, devices, len(todo))
        size = choose_batch(options.batch_size, devices[0], count * len(devices), len(todo))
        streams = make_streams(options, devices, writer, count, size, len(todo))
        for text in told:
            say(text, console)
        if since == NEVER:  # now: what can't begin must leave the folder as it is
            since = claim(options.output, settings)
        forget(options.output, notes_of(options))
        start = time.perf_counter()
        _drive(streams, Batches(todo, size), report, len(todo), console)
        report.seconds = time.perf_counter() - start
    else:
        forget(options.output, notes_of(options))
    done = (job for job in jobs if already_done(writer, job, since))
    _write_notes(options, writer, settings, done, report)
    return report


def _write_notes(
    options: argparse.Namespace, writer: Writer, settings: dict[str, Any], done: Iterable[Job], report: Report
) -> None:
    """The gallery and faces.json of what is done by now, in this run or before, and report.json."""
    finished = list(done)
    if options.gallery:
        pieces = (options.output / GALLERY / f"{job.name}.txt" for job in finished)
        path = options.output / f"{GALLERY}.html"
        with report.writing(path.name):
            write_gallery(path, pieces, report.total, writer.names, writer.palette)
    if options.finds:
        pieces = (options.output / FACES / f"{job.name}.json" for job in finished)
        path = options.output / f"{FACES}.json"
        with report.writing(path.name):
            write_whole(path, join_faces(piece.read_bytes() for piece in pieces))
    with report.writing(REPORT_FILE):
        write_whole(options.output / REPORT_FILE, report.content(options, settings))


def _drive(streams: list[Stream], batches: Batches, report: Report, total: int, console: Console) -> None:
    """Runs the streams under a progress bar; Ctrl-C and SIGTERM let them finish what they have begun."""

    def interrupt(number: int, frame: object) -> None:
        if report.interrupted:  # the second time: at once, while threads are amid the network
            try:
                console.show_cursor()
            finally:
                os._exit(130)
        report.interrupted = True
        batches.stop()

    columns = (TextColumn("parsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=total)

            def note(outcome: Outcome) -> None:
                report.count(outcome, printable(outcome.job.source))
                progress.advance(task)

            report.split = run(streams, batches, note)
    except DeviceLostError as error:
        report.failed["device"] = f"{error}; {report.again}"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # A signal that came after the last picture leaves nothing to do; a lost device may.
    if "device" not in report.failed and report.done + len(report.failed) == total:
        report.interrupted = False


def main(argv: list[str] | None = None, default_model: Callable[[], Path] | None = None) -> int:
    """Returns the exit code. ``default_model`` makes the model file where the command line names none."""
    options = arguments(argv, needs_model=default_model is None)
    keep_freed_memory()
    Image.MAX_IMAGE_PIXELS = None  # --max-pixels decides
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may have what a terminal lacks
    console = Console()

    def work() -> Report:
        if options.model is None:
            assert default_model is not None
            options.model = default_model()
        return predict(options, console)

    return exit_code_of(work, console)
