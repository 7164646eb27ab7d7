"""The predictor for folders beyond one machine: the same network, readers and writers under Ray Data.

    python -m deploy.cluster --model lisa.ts --input s3://bucket/photos --output s3://bucket/parsed

Input and output are folders that fsspec reaches: local paths, file://, and s3://, gs://, ... where their
packages (s3fs, gcsfs) are installed on every node, beside this project's own. Ray is the cluster that
RAY_ADDRESS names, or else this machine. A picture whose outputs exist is skipped, whichever of the two
predictors made them, so that the same command goes on after an interruption; unlike ``python lisa.ts`` this
one doesn't look whether a picture changed since. Exit codes are the same.
"""

import argparse
import logging
import os
import posixpath
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track

from deploy.predictor.command import (
    GPU_BATCH,
    MAX_GPU_STREAMS,
    goes_on_from_here,
    notes_of,
    settings_of,
)
from deploy.predictor.console import say
from deploy.predictor.errors import CannotStartError
from deploy.predictor.files import printable
from deploy.predictor.inputs import (
    SETTINGS_FILE,
    SUFFIXES,
    Job,
    find_in_folder,
    is_left_alone,
    name_outputs,
)
from deploy.predictor.machine import keep_freed_memory
from deploy.predictor.model import ExportedModel, check_sha256, read_metadata, refuse_flip
from deploy.predictor.onnx_files import is_onnx
from deploy.predictor.options import automatic, common_options, named
from deploy.predictor.output_folder import refuse_collisions, refuse_replacing, sole_writer
from deploy.predictor.photo_options import faces_of, open_photos, settle_faces
from deploy.predictor.report import REPORT_FILE, Outcome, Report, exit_code_of
from deploy.predictor.streams import Batches, run
from deploy.ray_cluster import ray_cluster
from deploy.store import Store, StoreStream, StoreWriter
from deploy.store_outputs import claim, done_before, forget, join_pieces, refuse_made_of_others

BLOCK = 64
"""Pictures that a worker is given at once, or two batches for each of its threads if those are more."""


class Worker:
    """One actor: loads the model once, then parses a block of pictures at each call.

    ``threads`` read and write side by side; on a GPU one at a time has it, on a CPU there is one of them.
    """

    def __init__(self, content: Any, options: argparse.Namespace, device: str, threads: int) -> None:
        import ray

        keep_freed_memory()
        Image.MAX_IMAGE_PIXELS = None  # --max-pixels decides
        torch.set_num_threads(1)  # there is one worker per core
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.ts"
            path.write_bytes(ray.get(content))
            probabilities = options.probabilities or bool(options.cutout)
            model = ExportedModel(
                path, torch.device(device), options.precision, options.tta == "flip", probabilities
            )
            photos = open_photos(options, model, path)
        self.batch = options.batch_size or (1 if device == "cpu" else GPU_BATCH)
        model.warm_up(self.batch)
        writer = StoreWriter(model.metadata, options, Store("--output", options.output))
        source = Store("--input", options.input)
        stream = StoreStream(model, writer, 1, options.fit, options.max_pixels, photos, source=source)
        self.streams = [stream] * threads

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Columns "source" and "name" to "source", "reason", and the seconds of each part, by picture."""
        pairs = zip(block["source"], block["name"], strict=True)
        jobs = [Job(Path(os.fsdecode(source)), os.fsdecode(name)) for source, name in pairs]
        outcomes: list[Outcome] = []
        seconds = run(self.streams, Batches(jobs, self.batch), outcomes.append)
        columns: dict[str, Any] = {
            "source": np.array([os.fsencode(outcome.job.source) for outcome in outcomes], object),
            "reason": np.array([outcome.reason for outcome in outcomes], object),
            "largest": np.array([outcome.largest for outcome in outcomes]),
            "oblong": np.array([outcome.oblong for outcome in outcomes]),
            "faces": np.array([-1 if outcome.faces is None else outcome.faces for outcome in outcomes]),
        }
        for part, value in asdict(seconds).items():
            columns[part] = np.full(len(outcomes), value / len(outcomes))
        return columns


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.cluster",
        description="Parses folders of faces on a Ray cluster: RAY_ADDRESS's, or this machine alone.",
        epilog="A model file is a program: run only those that you trust.",
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="file made by deploy.export")
    add("--input", required=True, type=named, help="folder of pictures: a path, s3://bucket/folder, ...")
    add("--output", required=True, type=named, help="folder for the label maps")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: GPUs if the cluster has any")
    add("--precision", choices=("fp32", "tf32", "bf16"), default="fp32", help="fp32: training's labels")
    add("--workers", type=automatic, default=0, help="actors; auto: one per GPU, or else per core")
    common_options(parser)
    parser.set_defaults(gallery=False)
    return parser.parse_args(argv)


def find_pictures(source: Store, target: Store, note: Callable[[str], object]) -> list[Job]:
    """The input's pictures, but for those inside the output. Raises CannotStartError if there are none."""
    same = source.files == target.files
    if same and source.root == target.root:
        raise CannotStartError(f"{target.label}: is the input folder, outputs would replace pictures")
    if source.is_local:
        with source.reached():
            if not Path(source.root).is_dir():
                raise CannotStartError(f"{source.label}: no such folder")
            found = find_in_folder(Path(source.root), Path(target.root) if same else None, note)
    else:
        names = source.names()
        made = [f"{posixpath.dirname(name)}/" for name in names if name.endswith(f"/{SETTINGS_FILE}")]
        if made:
            note(f"left alone, being the outputs of earlier runs: {', '.join(made)}")
        names = [name for name in names if posixpath.splitext(name)[1].lower() in SUFFIXES]
        names = [name for name in names if not name.startswith(tuple(made))]
        paths = [source.path(name) for name in names if not any(map(is_left_alone, name.split("/")))]
        inside = same and target.root.startswith(f"{source.root.rstrip('/')}/")
        found = [Path(path) for path in paths if not (inside and path.startswith(f"{target.root}/"))]
    if not found:
        raise CannotStartError(f"{source.label}: no such folder, or no pictures there")
    return name_outputs(found, Path(source.root))


def threads_per_actor(cpus: int, gpus: int) -> int:
    """Threads that read and write beside one network: a GPU's share of the cores."""
    return max(1, min(MAX_GPU_STREAMS, cpus // gpus)) if gpus else 1


def require_gpus(options: argparse.Namespace) -> None:
    """Raises CannotStartError if GPUs are asked for and there are none."""
    import ray

    if options.device == "cuda" and int(ray.cluster_resources().get("GPU", 0)) == 0:
        raise CannotStartError("--device cuda: the cluster has no GPU")


def parsed(options: argparse.Namespace, jobs: list[Job]) -> Iterator[dict[str, Any]]:
    """The workers' rows, in the order of their completion."""
    import ray
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    have = ray.cluster_resources()
    gpus = 0 if options.device == "cpu" else int(have.get("GPU", 0))
    workers = min(options.workers or gpus or int(have.get("CPU", 1)), len(jobs))
    threads = threads_per_actor(int(have.get("CPU", 1)), gpus)
    block = max(BLOCK, 2 * threads * (options.batch_size or GPU_BATCH)) if gpus else BLOCK
    # Small blocks: an interruption loses little, and no worker waits long for the last ones.
    blocks = max(-(-len(jobs) // block), min(4 * workers, len(jobs)))
    items = [{"source": os.fsencode(job.source), "name": os.fsencode(job.name)} for job in jobs]
    results = ray.data.from_items(items, override_num_blocks=blocks).map_batches(
        Worker,
        batch_size=block,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=0 if gpus else 1,
        num_gpus=1 if gpus else 0,
        fn_constructor_args=(
            ray.put(options.model.read_bytes()),
            options,
            "cuda" if gpus else "cpu",
            threads,
        ),
    )
    yield from results.iter_rows()


def predict_folder(options: argparse.Namespace, console: Console) -> Report:
    """The whole run. Raises CannotStartError."""
    if is_onnx(options.model):
        raise CannotStartError(f"{options.model}: deploy.cluster takes .ts files")
    digest = check_sha256(options.model, options.sha256)
    source, target = Store("--input", options.input), Store("--output", options.output)
    options.input, options.output = source.uri, target.uri  # workers may have another working folder
    metadata = read_metadata(options.model)
    settle_faces(options, metadata)
    if options.tta == "flip":
        refuse_flip(metadata)
    writer = StoreWriter(metadata, options, target)
    jobs = find_pictures(source, target, lambda text: say(text, console))
    if options.listed is not None:
        options.listed = faces_of(jobs, options.listed)
    refuse_collisions(writer.outputs, jobs)
    if source.files == target.files:
        targets = (target.path(name) for job in jobs for name in writer.outputs(job))
        refuse_replacing(targets, (str(job.source) for job in jobs))
    with sole_writer(Path(target.root)) if target.is_local else nullcontext():
        return _predict(options, writer, digest, jobs, console)


def _predict(
    options: argparse.Namespace, writer: StoreWriter, digest: str, jobs: list[Job], console: Console
) -> Report:
    """What writes into the output folder."""
    target = writer.store
    settings = settings_of(options, writer, digest, options.precision)
    if not options.overwrite:
        refuse_made_of_others(target, writer, jobs)
    outputs = [writer.outputs(job) for job in jobs]
    done = done_before(target, settings, [*outputs, notes_of(options)], options.overwrite)
    todo = [job for job, names in zip(jobs, outputs, strict=True) if not done.issuperset(names)]
    report = Report(total=len(jobs), skipped=len(jobs) - len(todo), again=goes_on_from_here(options))
    report.advice = options.advice
    if todo:
        ExportedModel(options.model, torch.device("cpu"), options.precision)  # damaged: better said here
        with ray_cluster():
            require_gpus(options)
            if not done:  # now: what can't begin must leave the folder as it is
                claim(target, settings, outputs)
            forget(target, notes_of(options))
            _drive(options, todo, report, console)
    else:
        forget(target, notes_of(options))
    if options.finds:
        join_pieces(target, writer, jobs, report)
    with report.writing(REPORT_FILE):
        target.write(REPORT_FILE, report.content(options, settings))
    return report


def _drive(options: argparse.Namespace, jobs: list[Job], report: Report, console: Console) -> None:
    """Ctrl-C and SIGTERM end it at once: what stands in the output is whole."""
    from ray.exceptions import RayError

    start = time.perf_counter()
    try:
        for row in track(parsed(options, jobs), "parsing", total=len(jobs), console=console):
            job = Job(Path(os.fsdecode(row["source"])), "")
            faces = int(row["faces"])
            faces = None if faces < 0 else faces
            outcome = Outcome(job, row["reason"], faces, bool(row["oblong"]), float(row["largest"]))
            report.count(outcome, printable(job.source))
            for part in asdict(report.split):
                setattr(report.split, part, getattr(report.split, part) + row[part])
    except KeyboardInterrupt:
        report.interrupted = True
    except RayError as error:  # a worker died, and again; the same command goes on from here
        report.failed["Ray"] = (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]
    report.seconds = time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = arguments(argv)
    console = Console()
    return exit_code_of(lambda: predict_folder(options, console), console)


if __name__ == "__main__":
    sys.exit(main())
