#!/usr/bin/env python3
"""Parses faces: a folder of pictures in, a folder of label maps out.

    python predict.py --model lisa.ts --input FOLDER --output FOLDER

This one file and an exported model are all it takes, in an environment that holds torch, numpy, Pillow and
rich. The model file carries its labels, palette and input size. It is also a program: run only model files
that you trust (``--sha256`` pins one).

Each picture becomes a palette PNG of class ids at the picture's own size (after EXIF rotation), in the same
subfolder, under the same stem. A picture that can't be read is named and skipped. A run that was interrupted
goes on where it stopped. Exit code: 0 all done, 1 some pictures failed, 2 nothing could start.

From top to bottom: errors, machine, model, pictures, outputs, run, command line.
"""

import argparse
import contextlib
import ctypes
import hashlib
import io
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
import uuid
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Pixels = NDArray[np.uint8]
"""(H,W,3) RGB, or (H,W) class ids."""

# --- errors ---------------------------------------------------------------------------------------------


class CannotStartError(Exception):
    """Nothing can be done: one line for the user, exit code 2."""


class BadPictureError(Exception):
    """This picture can't be done: one line in the report, the others go on."""


# --- machine --------------------------------------------------------------------------------------------


def keep_freed_memory() -> None:
    """Tells glibc to reuse freed buffers. Call it before the first tensor.

    By default every large buffer is fresh memory from the kernel, and touching its pages for the first time
    costs more than the arithmetic on them. Elsewhere (macOS, Windows, musl) nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 64 * 2**20)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def choose_devices(name: str) -> list[torch.device]:
    """auto: every GPU, or the CPU where there is none. Raises CannotStartError for others."""
    count = torch.cuda.device_count()
    if name == "auto":
        return [torch.device("cuda", index) for index in range(count)] or [torch.device("cpu")]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise CannotStartError(f"--device {name}: one of auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise CannotStartError(f"--device {name}: this machine has {count} CUDA devices")
    return [device]


# --- model ----------------------------------------------------------------------------------------------

METADATA_FILE = "lisa.json"
"""Name of the metadata inside the model file."""

FORMAT = 1
"""The newest model file that this program understands."""

_REQUIRED = {"format": int, "size": int, "labels": list, "palette": list, "flip_pairs": list}


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata inside a model file, read without running anything of it. Raises CannotStartError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{METADATA_FILE}")]
            text = archive.read(names[0]) if names else b"null"
    except OSError as error:
        raise CannotStartError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise CannotStartError(f"{path}: damaged, or no model file ({error})") from None
    try:
        metadata = json.loads(text)
    except ValueError:
        raise CannotStartError(f"{path}: its metadata is damaged") from None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("format"), int):
        raise CannotStartError(f"{path}: not made by deploy.export (it holds no {METADATA_FILE})")
    if metadata["format"] > FORMAT:
        raise CannotStartError(
            f"{path}: model format {metadata['format']}, this predict.py reads up to {FORMAT}: "
            "take the predict.py that came with the model"
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(metadata.get(key), kind):
            raise CannotStartError(f"{path}: its metadata lacks {key!r}")
    return metadata


class Parser:
    """An exported model on one device: a batch of pictures of one size in, their class ids out."""

    def __init__(self, path: Path, device: torch.device, precision: str) -> None:
        self.metadata = read_metadata(path)
        self.device = device
        try:
            with warnings.catch_warnings():
                # TorchScript is deprecated upstream; each release warns in its own category.
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", FutureWarning)
                model = torch.jit.load(path, map_location=device).eval()
                if precision == "bf16":
                    model.network.to(torch.bfloat16)
                if device.type == "cpu" and torch.backends.mkldnn.is_available():
                    _prefer_onednn(model)
                self.model = torch.jit.freeze(model, preserved_attrs=["logits", "labels"])
        except (RuntimeError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise CannotStartError(f"{path}: can't be loaded ({reason[:200]})") from None

    @torch.inference_mode()
    def __call__(self, pictures: Pixels) -> Pixels:
        """(B,H,W,3) uint8 RGB to (B,H,W) uint8 ids."""
        images = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
        return self.model(images).cpu().numpy()

    def warm_up(self) -> None:
        """TorchScript optimises during its first calls: they are slow."""
        size = self.metadata["size"]
        for _ in range(2):
            self(np.zeros((1, size, size, 3), dtype=np.uint8))


def _prefer_onednn(model: torch.nn.Module) -> None:
    """Sends every convolution that can choose to oneDNN; freezing then drops the other branch."""
    for module in model.modules():
        if hasattr(module, "onednn"):
            setattr(module, "onednn", True)  # noqa: B010 - nn.Module's stubs know tensors and modules only


# --- pictures -------------------------------------------------------------------------------------------

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".tga"),
)
"""Files with these endings are taken for pictures; others are left alone."""

MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Job:
    """One picture and where its outputs go: ``name`` is the output's path without a suffix."""

    source: Path
    name: str


def find_pictures(root: Path, output: Path) -> list[Job]:
    """Every picture under ``root``, sorted; subfolders are kept. Raises CannotStartError for none."""
    try:
        sources = [root] if root.is_file() else sorted(_walk(root, output.resolve()))
    except OSError as error:
        raise CannotStartError(f"--input {root}: {error.strerror or error}") from None
    base = root.parent if root.is_file() else root
    if not sources:
        raise CannotStartError(f"--input {root}: no pictures there ({', '.join(sorted(SUFFIXES))})")
    return _named(sources, base)


def _walk(root: Path, output: Path) -> Iterator[Path]:
    """Picture files, and folders named like one. Folders behind links are not entered: no loops."""
    with os.scandir(root) as entries:
        for entry in entries:
            path = Path(entry.path)
            if path.suffix.lower() in SUFFIXES:
                yield path
            if entry.is_dir(follow_symlinks=False) and path.resolve() != output:
                with contextlib.suppress(PermissionError):
                    yield from _walk(path, output)


def _named(sources: list[Path], base: Path) -> list[Job]:
    """Output names: the stem, or the whole file name where inputs share a stem."""
    stems = [path.relative_to(base).with_suffix("").as_posix() for path in sources]
    shared = Counter(stem.casefold() for stem in stems)
    return [
        Job(path, stem if shared[stem.casefold()] == 1 else path.relative_to(base).as_posix())
        for path, stem in zip(sources, stems, strict=True)
    ]


def read_picture(path: Path, max_pixels: int = MAX_PIXELS) -> Pixels:
    """(H,W,3) uint8 RGB, upright by EXIF; the first frame of an animation. Raises BadPictureError."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadPictureError(f"{width}x{height} is more than --max-pixels {max_pixels}")
            picture.seek(0)
            return np.asarray(_as_rgb(ImageOps.exif_transpose(picture)))
    except BadPictureError:
        raise
    except Image.UnidentifiedImageError:
        raise BadPictureError("no picture format that Pillow reads here") from None
    except OSError as error:
        raise BadPictureError(error.strerror or str(error)) from None
    except MemoryError:
        raise BadPictureError("not enough memory to decode it") from None
    except Exception as error:  # decoders raise what they like on damaged files: SyntaxError, struct.error...
        raise BadPictureError(f"damaged ({type(error).__name__}: {error})") from None


def _as_rgb(picture: Image.Image) -> Image.Image:
    """As training reads pictures: 16 bits to 8, transparency dropped."""
    if picture.mode.startswith("I"):  # convert("RGB") would clip 16 bits
        samples = np.asarray(picture).clip(0, 65535) / 257
        picture = Image.fromarray(samples.round().astype(np.uint8))
    if picture.mode == "F":
        raise BadPictureError("floating-point samples: their range is unknown")
    return picture.convert("RGB")


# --- outputs --------------------------------------------------------------------------------------------

PNG_LEVEL = 1
"""zlib's level: 9 makes the label maps a little smaller and takes many times as long."""

_TEMPORARY = ".predict-tmp-"


def write_whole(path: Path, content: bytes) -> None:
    """The file appears with all its content or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def prepare_output(folder: Path) -> None:
    """Makes the folder, proves that it can be written, removes what a killed run left half-written."""
    try:
        write_whole(folder / f"{_TEMPORARY}probe", b"")
        for leftover in folder.rglob(f"{_TEMPORARY}*"):
            leftover.unlink()
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def _encoded(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()


class Writer:
    """Turns a label map into the files that the user asked for."""

    def __init__(self, folder: Path, palette: list[int], overlay: bool) -> None:
        self.folder = folder
        self.palette = palette
        self.overlay = overlay

    def targets(self, job: Job) -> list[Path]:
        """The files of a picture, the label map last: where it stands, the picture is done."""
        overlays = [self.folder / "overlay" / f"{job.name}.jpg"] if self.overlay else []
        return [*overlays, self.folder / f"{job.name}.png"]

    def write(self, job: Job, picture: Pixels, labels: Pixels) -> None:
        """Raises OSError."""
        ids = Image.fromarray(labels)
        ids.putpalette(self.palette)
        contents = [_encoded(_blended(picture, ids), format="JPEG", quality=90)] if self.overlay else []
        contents.append(_encoded(ids, format="PNG", compress_level=PNG_LEVEL))
        for path, content in zip(self.targets(job), contents, strict=True):
            write_whole(path, content)


def _blended(picture: Pixels, ids: Image.Image) -> Image.Image:
    """The picture with half of each class's colour over it; the background stays as it was."""
    strength = ids.point([0] + [128] * 255, "L")
    return Image.composite(ids.convert("RGB"), Image.fromarray(picture), strength)


# --- run ------------------------------------------------------------------------------------------------

MAX_STREAMS = 8
"""Each CPU stream holds the maps of one picture, some 300 MB at 512x512."""


@dataclass
class Outcome:
    """What became of one picture; ``reason`` is empty where all went well."""

    job: Job
    reason: str = ""


@dataclass
class Seconds:
    """Where a stream's time went."""

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

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    split: Seconds = field(default_factory=Seconds)
    interrupted: bool = False


@dataclass(frozen=True)
class Stream:
    """One worker: reads, parses and writes a batch, then takes the next.

    Streams of a device run side by side, so that decoding and encoding hide behind the network. On a GPU
    ``turn`` lets one of them at a time onto the device; on the CPU each has its own threads.
    """

    parser: Parser
    writer: Writer
    turn: contextlib.AbstractContextManager[Any]
    threads: int
    max_pixels: int

    def work(self, batches: Iterable[list[Job]], report: Callable[[Outcome], None]) -> Seconds:
        """Until ``batches`` ends. One outcome per job."""
        torch.set_num_threads(self.threads)  # OpenMP keeps this number per calling thread
        seconds = Seconds()
        for batch in batches:
            for outcome in self._batch(batch, seconds):
                report(outcome)
        return seconds

    def _batch(self, batch: list[Job], seconds: Seconds) -> Iterator[Outcome]:
        by_size: dict[tuple[int, ...], list[tuple[Job, Pixels]]] = {}
        for job in batch:
            try:
                with seconds.spent_on("decode"):
                    picture = read_picture(job.source, self.max_pixels)
                by_size.setdefault(picture.shape, []).append((job, picture))
            except BadPictureError as error:
                yield Outcome(job, str(error))
        for group in by_size.values():
            yield from self._group(group, seconds)

    def _group(self, group: list[tuple[Job, Pixels]], seconds: Seconds) -> Iterator[Outcome]:
        try:
            with self.turn, seconds.spent_on("network"):
                maps = self.parser(np.stack([picture for _, picture in group]))
        except (RuntimeError, MemoryError) as error:  # torch reports missing memory as a RuntimeError
            if len(group) > 1:
                for pair in group:
                    yield from self._group([pair], seconds)
            else:
                yield Outcome(group[0][0], f"network: {str(error).strip().splitlines()[0][:200]}")
            return
        for (job, picture), labels in zip(group, maps, strict=True):
            try:
                with seconds.spent_on("encode"):
                    self.writer.write(job, picture, labels)
                yield Outcome(job)
            except OSError as error:
                yield Outcome(job, f"not written: {error.strerror or error}")


class Batches:
    """Hands out lists of jobs to many threads; ``stop`` ends it early."""

    def __init__(self, jobs: list[Job], size: int) -> None:
        self._jobs = iter(jobs)
        self._size = size
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """No more batches; those handed out are finished."""
        self._stopped = True

    def __iter__(self) -> Iterator[list[Job]]:
        while True:
            with self._lock:
                count = 0 if self._stopped else self._size
                batch = [job for _, job in zip(range(count), self._jobs, strict=False)]
            if not batch:
                return
            yield batch


def run(streams: list[Stream], batches: Batches, on_outcome: Callable[[Outcome], None]) -> Seconds:
    """Drives the streams; ``on_outcome`` is called in this thread. The sum of their seconds."""
    outcomes: queue.SimpleQueue[Outcome | Seconds | BaseException] = queue.SimpleQueue()

    def target(stream: Stream) -> None:
        try:
            outcomes.put(stream.work(batches, outcomes.put))
        except BaseException as error:  # handed to the main thread, which raises it
            batches.stop()
            outcomes.put(error)

    for stream in streams:
        threading.Thread(target=target, args=(stream,), daemon=True).start()
    total, running = Seconds(), len(streams)
    while running:
        item = outcomes.get()
        if isinstance(item, Outcome):
            on_outcome(item)
        elif isinstance(item, Seconds):
            running -= 1
            for part, value in asdict(item).items():
                setattr(total, part, getattr(total, part) + value)
        else:
            raise item
    return total


# --- command line ---------------------------------------------------------------------------------------


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Parses faces: pictures in, palette PNGs of class ids out.",
        epilog="A model file is a program: run only those that you trust.",
    )
    parser.add_argument("--model", type=Path, required=True, help="file made by deploy.export")
    parser.add_argument("--input", type=Path, required=True, help="folder of pictures, or one picture")
    parser.add_argument("--output", type=Path, required=True, help="folder for the label maps")
    parser.add_argument(
        "--overlay", action="store_true", help="also OUTPUT/overlay: the classes' colours blended in"
    )
    parser.add_argument(
        "--device", default="auto", help="auto (every GPU, else the CPU), cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="fp32",
        help="fp32 gives training's labels; auto takes bf16 where the device multiplies it in hardware: "
        "faster, a few labels per thousand differ",
    )
    parser.add_argument("--overwrite", action="store_true", help="do pictures again that are done already")
    parser.add_argument("--sha256", help="refuse a model file with another SHA-256")
    parser.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, help="refuse larger pictures (default: %(default)s)"
    )
    return parser.parse_args(argv)


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's SHA-256. Raises CannotStartError if another one is expected."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CannotStartError(f"{path}: {error.strerror or error}") from None
    if expected is not None and digest != expected.strip().lower():
        raise CannotStartError(f"{path}: its SHA-256 is {digest}, not {expected}")
    return digest


def choose_precision(name: str, device: torch.device) -> str:
    """auto: bf16 where the device multiplies it in hardware."""
    if name != "auto":
        return name
    fast = cpu_has_bf16() if device.type == "cpu" else torch.cuda.is_bf16_supported()
    return "bf16" if fast else "fp32"


def make_streams(
    options: argparse.Namespace, devices: list[torch.device], writer: Writer, pictures: int
) -> list[Stream]:
    """One stream per core (at most 8), as many threads in each as the cores allow; batches on GPUs only."""
    streams = min(MAX_STREAMS, cores(), pictures)
    threads = max(1, cores() // streams)
    made: list[Stream] = []
    for device in devices:
        parser = Parser(options.model, device, choose_precision(options.precision, device))
        torch.set_num_threads(threads)
        parser.warm_up()
        turn = contextlib.nullcontext() if device.type == "cpu" else threading.Lock()
        made += [Stream(parser, writer, turn, threads, options.max_pixels) for _ in range(streams)]
    return made


def already_done(writer: Writer, job: Job) -> bool:
    """Whether all outputs stand and are newer than the picture."""
    try:
        changed = job.source.stat().st_mtime
        return all(path.is_file() and path.stat().st_mtime >= changed for path in writer.targets(job))
    except OSError:
        return False


def predict(options: argparse.Namespace, console: Console) -> Report:
    """The whole run. Raises CannotStartError."""
    digest = check_sha256(options.model, options.sha256)
    metadata = read_metadata(options.model)
    devices = choose_devices(options.device)
    if options.output.resolve() == options.input.resolve():
        raise CannotStartError(
            f"--output {options.output}: is the input folder, outputs would replace pictures"
        )
    jobs = find_pictures(options.input, options.output)
    prepare_output(options.output)
    writer = Writer(options.output, metadata["palette"], options.overlay)
    todo = [job for job in jobs if options.overwrite or not already_done(writer, job)]
    report = Report(skipped=len(jobs) - len(todo))
    if todo:
        streams = make_streams(options, devices, writer, len(todo))
        batches = Batches(todo, 1 if devices[0].type == "cpu" else 16)
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
        start = time.perf_counter()
        _drive(streams, batches, report, len(todo), console)
        report.seconds = time.perf_counter() - start
    content = {"model": str(options.model), "sha256": digest, **asdict(report)}
    try:
        write_whole(options.output / "report.json", json.dumps(content, indent=2).encode())
    except OSError as error:
        report.failed["report.json"] = f"not written: {error.strerror or error}"
    return report


def _drive(streams: list[Stream], batches: Batches, report: Report, total: int, console: Console) -> None:
    columns = (TextColumn("parsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=total)

        def note(outcome: Outcome) -> None:
            if outcome.reason:
                report.failed[str(outcome.job.source)] = outcome.reason
            else:
                report.done += 1
            progress.advance(task)

        try:
            report.split = run(streams, batches, note)
        except KeyboardInterrupt:
            batches.stop()
            report.interrupted = True


def summarise(report: Report, console: Console) -> None:
    """What was done and where the time went."""
    for source, reason in list(report.failed.items())[:20]:
        console.print(
            f"failed: {source}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    if len(report.failed) > 20:
        console.print(f"... and {len(report.failed) - 20} more, all in report.json")
    rate = report.done / report.seconds if report.seconds else 0.0
    counts = f"{report.done} done, {report.skipped} done before, {len(report.failed)} failed"
    split = asdict(report.split)
    busy = sum(split.values())
    shares = ", ".join(f"{part} {100 * value / busy:.0f} %" for part, value in split.items()) if busy else ""
    console.print(f"{counts}; {rate:.1f} pictures/s" + (f" ({shares})" if shares else ""), highlight=False)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = arguments(argv)
    keep_freed_memory()
    Image.MAX_IMAGE_PIXELS = None  # --max-pixels decides
    console = Console()
    try:
        report = predict(options, console)
    except CannotStartError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    summarise(report, console)
    if report.interrupted:
        return 130
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
