#!/usr/bin/env python3
"""Parses faces: a folder of pictures in, a folder of label maps out.

    python predict.py --model lisa.ts --input FOLDER --output FOLDER

This one file and an exported model are all it takes, in an environment that holds torch, numpy, Pillow and
rich. The model file carries its labels, palette and input size. It is also a program: run only model files
that you trust (``--sha256`` pins one).

Each picture becomes a palette PNG of class ids at the picture's own size (after EXIF rotation; of an
animation, the first frame), in the same subfolder, under the same stem. What can't be read is named and
skipped. A run that was interrupted goes on where it stopped; pictures that changed since are done anew, and
so are all of them for other options or another model. Exit code: 0 all done, 1 some failed, 2 nothing
could start, 130 interrupted.

The network was trained on pictures in which the face fills the frame: cut faces out of larger scenes first.

From top to bottom: errors, machine, model, pictures, outputs, gallery, run, command line.
"""

import argparse
import base64
import contextlib
import ctypes
import errno
import glob
import hashlib
import html
import io
import itertools
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
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if sys.platform != "win32":
    import fcntl

Pixels = NDArray[np.uint8]
"""(H,W,3) RGB, or (H,W) class ids."""

Probabilities = NDArray[np.float16]
"""(C,size,size), at the network's own resolution."""

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
    """An exported model on one device: a batch of pictures of one size in, their class ids out.

    ``flip`` averages the logits with those of the mirrored pictures, left and right labels swapped back.
    ``probabilities`` returns them too.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        precision: str,
        flip: bool = False,
        probabilities: bool = False,
    ) -> None:
        self.metadata = read_metadata(path)
        self.device = device
        self.flip = flip
        self.probabilities = probabilities
        self.swapped = list(range(len(self.metadata["labels"])))
        for left, right in self.metadata["flip_pairs"]:
            self.swapped[left], self.swapped[right] = right, left
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
    def __call__(self, pictures: Pixels) -> tuple[Pixels, Probabilities | None]:
        """(B,H,W,3) uint8 RGB to (B,H,W) uint8 ids, and (B,C,size,size) probabilities if asked for."""
        images = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
        if not (self.flip or self.probabilities):
            return self.model(images).cpu().numpy(), None
        logits = self.model.logits(images)
        if self.flip:
            mirrored = self.model.logits(images.flip(3)).flip(3)
            logits = (logits + mirrored[:, self.swapped]) / 2
        labels = self.model.labels(logits, images.shape[2], images.shape[3]).cpu().numpy()
        return labels, logits.softmax(1).half().cpu().numpy() if self.probabilities else None

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


def find_pictures(source: str, output: Path) -> list[Job]:
    """The pictures that ``--input`` names, sorted. Raises CannotStartError if there are none.

    A folder (with its subfolders, which are kept), one picture, a pattern such as "a/**/*.jpg", or a .txt
    file with one path per line, relative to the file's folder.
    """
    path = Path(source)
    try:
        if path.is_dir():
            sources, base = sorted(_walk(path, output.resolve())), path
        elif path.suffix.lower() == ".txt" and path.is_file():
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            sources = list(dict.fromkeys(path.parent / line.strip() for line in lines if line.strip()))
            base = _common_folder(sources)
        elif not path.exists() and glob.has_magic(source):
            sources = _without_outputs(_matches(source), source, output.resolve())
            base = _common_folder(sources)
        else:
            path.lstat()
            sources, base = [path], path.parent
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise CannotStartError(f"--input {source}: {reason}") from None
    if not sources:
        raise CannotStartError(f"--input {source}: no pictures there ({', '.join(sorted(SUFFIXES))})")
    return named(sources, base)


def _matches(pattern: str) -> list[Path]:
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207


def _without_outputs(paths: list[Path], pattern: str, output: Path) -> list[Path]:
    """What a pattern has found but for what lies in the output folder, unless it names that folder itself."""
    fixed = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)).resolve()
    if output in (fixed, *fixed.parents):
        return paths
    return [path for path in paths if output not in path.resolve().parents]


def _common_folder(paths: list[Path]) -> Path:
    if not paths:
        return Path()
    folders = [os.path.abspath(path.parent) for path in paths]  # noqa: PTH100 - resolve would follow links
    return Path(os.path.commonpath(folders))


def _walk(root: Path, output: Path) -> Iterator[Path]:
    """Pictures, and what only looks like one: folders of that name, folders that can't be read.

    Folders behind links are not entered: no loops. The output folder isn't either.
    """
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = Path(entry.path)
            if path.suffix.lower() in SUFFIXES:
                yield path
            if entry.is_dir(follow_symlinks=False) and path.resolve() != output:
                try:
                    yield from _walk(path, output)
                except PermissionError:
                    yield path  # reading it as a picture fails too, and that is what the report will say


def named(sources: list[Path], base: Path) -> list[Job]:
    """Output names: the stem, or the whole file name where inputs share a stem."""
    names = [Path(os.path.relpath(path, base)) for path in sources]
    stems = [name.with_suffix("").as_posix() for name in names]
    shared = Counter(stem.casefold() for stem in stems)
    return [
        Job(path, stem if shared[stem.casefold()] == 1 else name.as_posix())
        for path, name, stem in zip(sources, names, stems, strict=True)
    ]


def read_picture(source: Path | BinaryIO, max_pixels: int = MAX_PIXELS) -> Pixels:
    """(H,W,3) uint8 RGB, upright by EXIF; the first frame of an animation. Raises BadPictureError."""
    try:
        with Image.open(source) as picture:
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


def to_frame(picture: Pixels, fit: str) -> Pixels:
    """What of the picture the network sees, which stretches it to its own square.

    stretch: all of it. pad: all of it in a grey square. crop: the square in its middle.
    """
    height, width = picture.shape[:2]
    if fit == "crop":
        return np.ascontiguousarray(picture[_middle(picture.shape, min(height, width))])
    if fit == "pad":
        side = max(height, width)
        frame = np.full((side, side, 3), 127, np.uint8)
        frame[_middle(frame.shape, height, width)] = picture
        return frame
    return picture


def from_frame(labels: Pixels, shape: tuple[int, ...], fit: str) -> Pixels:
    """The label map of the whole picture of ``shape``; around a crop everything is background."""
    if fit == "crop":
        whole = np.zeros(shape[:2], np.uint8)
        whole[_middle(shape, *labels.shape)] = labels
        return whole
    if fit == "pad":
        return labels[_middle(labels.shape, *shape[:2])]
    return labels


def _middle(shape: tuple[int, ...], height: int, width: int | None = None) -> tuple[slice, slice]:
    """A height x width window in the middle of an array."""
    width = height if width is None else width
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return slice(top, top + height), slice(left, left + width)


# --- outputs --------------------------------------------------------------------------------------------

PNG_LEVEL = 1
"""zlib's level: 9 makes the label maps a little smaller and takes many times as long."""

TEMPORARY = ".predict-tmp-"


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A temporary file to write: it takes the place of ``path`` with all its content or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """The file appears with all its content or not at all. Raises OSError."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def prepare_output(folder: Path) -> None:
    """Makes the folder, proves that it can be written, removes what a killed run left half-written."""
    try:
        write_whole(folder / f"{TEMPORARY}probe", b"")
        for leftover in folder.rglob(f"{TEMPORARY}*"):
            leftover.unlink()
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def _encoded(picture: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, **options)
    return stream.getvalue()


ZLLRUNNING = (
    *("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose"),
    *("mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat"),
)
"""The order of ids in zllrunning/face-parsing.PyTorch, which many tools expect."""


class Writer:
    """Turns a label map into the files that the user asked for. Raises CannotStartError for unknown parts."""

    def __init__(self, metadata: dict[str, Any], options: argparse.Namespace) -> None:
        self.folder: Path = options.output
        self.names: list[str] = metadata["labels"]
        self.palette: list[int] = metadata["palette"]
        self.overlay: bool = options.overlay
        self.color: bool = options.color
        self.probabilities: bool = options.probabilities
        self.gallery: bool = options.gallery
        self.parts: list[str] = [part for part in options.parts.split(",") if part]
        for part in self.parts:
            if part not in self.names:
                raise CannotStartError(f"--parts {part}: one of {', '.join(self.names)}")
        order = ZLLRUNNING if options.labels == "zllrunning" else self.names
        if sorted(order) != sorted(self.names):
            raise CannotStartError(f"--labels {options.labels}: this model has other labels")
        self.renumbered = np.array([order.index(name) for name in self.names], np.uint8)
        colors = np.array(self.palette).reshape(-1, 3)
        self.out_palette = [int(value) for name in order for value in colors[self.names.index(name)]]

    def outputs(self, job: Job) -> list[str]:
        """The files of a picture, the label map last: where it stands, the picture is done."""
        kinds = [("overlay", ".jpg")] * self.overlay + [("color", ".png")] * self.color
        kinds += [(f"parts/{part}", ".png") for part in self.parts]
        kinds += [("probabilities", ".npz")] * self.probabilities + [(GALLERY, ".txt")] * self.gallery
        return [*(f"{kind}/{job.name}{suffix}" for kind, suffix in kinds), f"{job.name}.png"]

    def targets(self, job: Job) -> list[Path]:
        """``outputs``, in the output folder."""
        return [self.folder / name for name in self.outputs(job)]

    def write(self, job: Job, picture: Pixels, labels: Pixels, probabilities: Probabilities | None) -> None:
        """Raises OSError."""
        contents = self.contents(job, picture, labels, probabilities)
        for path, content in zip(self.targets(job), contents, strict=True):
            write_whole(path, content)

    def contents(
        self, job: Job, picture: Pixels, labels: Pixels, probabilities: Probabilities | None
    ) -> Iterator[bytes]:
        """In the order of ``outputs``."""
        ids = _with_palette(labels, self.palette)
        if self.overlay:
            yield _encoded(_blended(picture, ids), format="JPEG", quality=90)
        if self.color:
            yield _encoded(ids.convert("RGB"), format="PNG", compress_level=PNG_LEVEL)
        for part in self.parts:
            mask = (labels == self.names.index(part)) * np.uint8(255)
            yield _encoded(Image.fromarray(mask), format="PNG", compress_level=PNG_LEVEL)
        if probabilities is not None:
            stream = io.BytesIO()
            in_order = np.argsort(self.renumbered)  # channel i is the map's id i
            np.savez_compressed(stream, probabilities=probabilities[in_order])
            yield stream.getvalue()
        if self.gallery:
            yield gallery_piece(printable(Path(job.name)), picture, labels, len(self.names))
        renumbered = _with_palette(self.renumbered[labels], self.out_palette)
        yield _encoded(renumbered, format="PNG", compress_level=PNG_LEVEL)


def _with_palette(labels: Pixels, palette: list[int]) -> Image.Image:
    image = Image.fromarray(labels)
    image.putpalette(palette)
    return image


def _blended(picture: Pixels, ids: Image.Image) -> Image.Image:
    """The picture with half of each class's colour over it; the background stays as it was."""
    strength = ids.point([0] + [128] * 255, "L")
    return Image.composite(ids.convert("RGB"), Image.fromarray(picture), strength)


# --- gallery --------------------------------------------------------------------------------------------

GALLERY = "gallery"
"""Folder of the pages' pieces, one per picture, and the stem of the page that they make."""

THUMBNAIL = 256
"""Longest side in the gallery, pixels."""


def gallery_piece(name: str, picture: Pixels, labels: Pixels, classes: int) -> bytes:
    """A picture's row in the gallery: thumbnail, label map and area per class, as one HTML element.

    The page reads the attribute at once and the content, base64 of WebP and of zlib's ids, when the picture
    comes into view.
    """
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    size = thumbnail.size
    ids = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    areas = np.bincount(labels.ravel(), minlength=classes) / labels.size
    row = {
        "name": name,
        "size": [labels.shape[1], labels.shape[0]],
        "thumbnail": size,
        "areas": [round(float(area), 5) for area in areas],
    }
    contents = (_encoded(thumbnail, format="WEBP", quality=65, method=2), zlib.compress(ids.tobytes(), 9))
    encoded = b" ".join(base64.b64encode(content) for content in contents)
    about = html.escape(json.dumps(row)).encode()
    return b'<script type="text/plain" data-row="%b">%b</script>\n' % (about, encoded)


def write_gallery(path: Path, pieces: Iterable[Path], total: int, writer: Writer) -> None:
    """One page out of the pieces, one at a time. Raises OSError."""
    about = {"total": total, "labels": writer.names, "palette": writer.palette}
    head, tail = GALLERY_PAGE.replace("{about}", html.escape(json.dumps(about))).split("{rows}\n")
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(head.encode())
        for piece in pieces:
            stream.write(piece.read_bytes())
        stream.write(tail.encode())


GALLERY_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Parsed faces</title>
<style>
:root { --split: 50%; --page: #f4f4f2; --card: #fff; --text: #1d1d1b; --quiet: #6b6b66; --line: #dcdcd6;
  --accent: #2b62d9; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #141416; --card: #1f1f23; --text: #ececea;
  --quiet: #9c9ca3; --line: #35353b; --accent: #7aa5ff; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--page); color: var(--text); font: 14px/1.4 system-ui, sans-serif; }
header { position: sticky; top: 0; z-index: 2; padding: 12px 20px; background: var(--page);
  border-bottom: 1px solid var(--line); }
.tools { display: flex; flex-wrap: wrap; gap: 10px 24px; align-items: center; margin-bottom: 10px; }
h1 { font-size: 17px; margin: 0; }
#count, .share, #detail p { color: var(--quiet); font-variant-numeric: tabular-nums; }
#search { flex: 1 1 180px; max-width: 340px; padding: 6px 10px; font: inherit; color: inherit;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
.split { display: flex; gap: 8px; align-items: center; }
input { accent-color: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: 6px; }
.class { display: inline-flex; gap: 6px; align-items: center; padding: 2px 9px 2px 6px; cursor: pointer;
  white-space: nowrap; background: var(--card); border: 1px solid var(--line); border-radius: 99px; }
.class input { position: absolute; opacity: 0; }
.class i { width: 12px; height: 12px; border-radius: 3px; background: var(--color); flex: none;
  box-shadow: 0 0 0 1px color-mix(in srgb, var(--text) 25%, transparent); }
.class:has(input:not(:checked)) { opacity: .5; text-decoration: line-through; }
.class:has(:focus-visible), .card:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
button { font: inherit; color: inherit; cursor: pointer; background: none; border: 1px solid var(--line);
  border-radius: 99px; padding: 2px 10px; flex: none; }
main { display: grid; gap: 14px; padding: 18px 20px 40px;
  grid-template-columns: repeat(auto-fill, minmax(min(180px, 42vw), 1fr)); }
.card { padding: 0; border-radius: 10px; overflow: hidden; text-align: left; background: var(--card);
  content-visibility: auto; contain-intrinsic-size: auto 230px; }
.stage { position: relative; display: block; aspect-ratio: 1; background: #8883; overflow: hidden; }
.stage img, .stage canvas { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.stage canvas { image-rendering: pixelated; clip-path: inset(0 calc(100% - var(--split)) 0 0); }
.stage::after { content: ""; position: absolute; inset: 0 auto 0 var(--split); width: 2px; margin-left: -1px;
  background: #fffc; box-shadow: 0 0 3px #0008; pointer-events: none; }
.bar { display: flex; height: 5px; }
.name { display: block; padding: 7px 10px 8px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  direction: rtl; text-align: left; }
#detail { color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 16px 18px; width: min(1000px, 94vw); max-height: 94vh; }
#detail::backdrop { background: #000a; }
#detail .tools { flex-wrap: nowrap; margin: 0 0 10px; gap: 10px; }
#detail h2 { font-size: 16px; margin: 0; flex: 1; overflow-wrap: anywhere; }
#detail p { margin: 0; white-space: nowrap; }
.columns { display: flex; flex-wrap: wrap; gap: 16px 22px; align-items: start; }
.columns .stage { flex: 1 1 300px; max-width: min(100%, 76vh); border-radius: 8px; }
.columns .stage input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0;
  cursor: ew-resize; }
.columns .stage::before { content: "\\2194"; position: absolute; z-index: 1; left: var(--split); top: 50%;
  width: 34px; margin: -17px; font: 20px/34px system-ui, sans-serif; text-align: center; color: #222;
  background: #fffd; border-radius: 50%; box-shadow: 0 1px 5px #0008; pointer-events: none; }
.columns .stage:has(:focus-visible) { outline: 2px solid var(--accent); }
#areas { flex: 1 1 230px; display: grid; gap: 3px; }
#areas .class { border: 0; background: linear-gradient(var(--line), var(--line)) 0 / var(--area) no-repeat;
  border-radius: 4px; }
#areas .share { margin-left: auto; padding-left: 12px; }
@media (max-width: 640px) { header { padding: 10px 12px; } main { padding: 12px; gap: 10px; }
  header .legend { flex-wrap: nowrap; overflow-x: auto; padding-bottom: 4px; }
  #detail .tools { flex-wrap: wrap; } #detail h2 { flex: 1 1 100%; } }
</style>
</head>
<body>
<header>
  <div class="tools">
    <h1>Parsed faces</h1><span id="count" role="status"></span>
    <input id="search" type="search" placeholder="Search by name" aria-label="Search by name">
    <label class="split">picture <input type="range" class="slider" aria-label="From picture to parsing">
      parsing</label>
  </div>
  <div class="legend" id="legend"><button id="all" type="button">all / none</button></div>
</header>
<main id="cards"></main>
<dialog id="detail">
  <div class="tools"><h2></h2><p></p>
    <button type="button" id="previous" aria-label="Previous picture">&larr;</button>
    <button type="button" id="next" aria-label="Next picture">&rarr;</button>
    <button type="button" id="close" aria-label="Close">&times;</button></div>
  <div class="columns">
    <div class="stage"><input type="range" class="slider" aria-label="From picture to parsing"></div>
    <div id="areas"></div>
  </div>
</dialog>
<template id="card"><button type="button" class="card"><span class="stage"></span><span class="bar"></span>
  <span class="name"><bdi></bdi></span></button></template>
<noscript>This page needs JavaScript, and no network.</noscript>
{rows}
<script data-about="{about}">
"use strict";
const about = JSON.parse(document.currentScript.dataset.about);
const at = id => document.getElementById(id);
const percent = area => `${(100 * area).toFixed(area < 0.0995 ? 1 : 0)} %`;
const css = id => `rgb(${about.palette.slice(3 * id, 3 * id + 3)})`;
const off = new Set([0]);  // the background, so that the picture shows around the face
const cards = [...document.querySelectorAll("script[data-row]")].map(script => {
  const element = at("card").content.cloneNode(true).firstChild;
  return { element, script, row: JSON.parse(script.dataset.row) };
});
const byElement = new Map(cards.map(card => [card.element, card]));

// Pixels: decoded when a card comes into view, dropped when it leaves.
async function show(stage, card) {
  const [picture, packed] = card.script.textContent.split(" ");
  const image = new Image();
  image.src = "data:image/webp;base64," + picture;
  image.alt = "";
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = card.row.thumbnail;
  stage.querySelectorAll("img, canvas").forEach(old => old.remove());
  stage.prepend(image, canvas);
  const bytes = Uint8Array.from(atob(packed), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  canvas.ids = new Uint8Array(await new Response(stream).arrayBuffer());
  paint(canvas);
}
function paint(canvas) {
  if (!canvas.ids) return;
  const colors = new Uint32Array(about.labels.map((_, id) => {
    const [red, green, blue] = about.palette.slice(3 * id, 3 * id + 3);
    return off.has(id) ? 0 : (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
  }));
  const image = new ImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  canvas.ids.forEach((id, index) => { pixels[index] = colors[id]; });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
const watch = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  const stage = target.querySelector(".stage");
  if (isIntersecting) show(stage, byElement.get(target));
  else stage.replaceChildren();
}), { rootMargin: "400px" });

// Classes: a switch in the legend, and one beside each picture in the detail.
function toggle(ids, visible) {
  ids.forEach(id => visible ? off.delete(id) : off.add(id));
  document.querySelectorAll(".class input").forEach(input => { input.checked = !off.has(+input.value); });
  document.querySelectorAll("canvas").forEach(paint);
}
function classSwitch(id) {
  const make = tag => document.createElement(tag);
  const [label, input, swatch, share] = ["label", "input", "i", "span"].map(make);
  Object.assign(input, { type: "checkbox", value: id, checked: !off.has(id) });
  input.addEventListener("change", () => toggle([id], input.checked));
  label.className = "class";
  label.style.setProperty("--color", css(id));
  share.className = "share";
  label.append(input, swatch, about.labels[id], share);
  return label;
}
const legend = about.labels.map((_, id) => classSwitch(id));
at("legend").append(...legend);
at("all").addEventListener("click", () => toggle([...about.labels.keys()], off.size > 0));

// Slider: one position for the whole page.
const sliders = document.querySelectorAll(".slider");
sliders.forEach(slider => slider.addEventListener("input", () => {
  document.documentElement.style.setProperty("--split", slider.value + "%");
  sliders.forEach(other => { other.value = slider.value; });
}));

// Search: what is shown, and the mean area of each class over it.
let shown = cards;
function search() {
  const wanted = at("search").value.trim().toLowerCase();
  shown = cards.filter(({ element, row }) => {
    element.hidden = !row.name.toLowerCase().includes(wanted);
    return !element.hidden;
  });
  const parsed = cards.length < about.total ? `${cards.length} parsed of ${about.total}` : `${about.total}`;
  at("count").textContent = wanted ? `${shown.length} of ${cards.length} pictures` : `${parsed} pictures`;
  legend.forEach((label, id) => {
    const sum = shown.reduce((total, { row }) => total + row.areas[id], 0);
    label.querySelector(".share").textContent = shown.length ? percent(sum / shown.length) : "";
    label.title = "mean area over the pictures shown";
  });
}
at("search").addEventListener("input", search);

// Detail: one picture large, with the area of each class.
let current = 0;
function open(index) {
  current = (index + shown.length) % shown.length;
  const { row } = shown[current];
  at("detail").querySelector("h2").textContent = row.name;
  at("detail").querySelector("p").textContent = row.size.join(" × ");
  const present = row.areas.map((area, id) => [area, id]).filter(([area]) => area > 0);
  at("areas").replaceChildren(...present.sort((a, b) => b[0] - a[0]).map(([area, id]) => {
    const label = classSwitch(id);
    label.style.setProperty("--area", `${100 * area / present[0][0]}% 100%`);
    label.querySelector(".share").textContent = percent(area);
    return label;
  }));
  show(at("detail").querySelector(".stage"), shown[current]);
  if (!at("detail").open) at("detail").showModal();
}
at("previous").addEventListener("click", () => open(current - 1));
at("next").addEventListener("click", () => open(current + 1));
at("close").addEventListener("click", () => at("detail").close());

for (const card of cards) {
  const { element, row } = card;
  element.querySelector("bdi").textContent = element.title = row.name;
  element.querySelector(".bar").append(...row.areas.flatMap((area, id) => {
    if (!id || area < 0.002) return [];
    const part = document.createElement("span");
    part.style.cssText = `width: ${100 * area}%; background: ${css(id)}`;
    part.title = `${about.labels[id]} ${percent(area)}`;
    return [part];
  }));
  element.addEventListener("click", () => open(shown.indexOf(card)));
  watch.observe(element);
}
at("cards").append(...cards.map(card => card.element));
search();
</script>
</body>
</html>
"""


# --- run ------------------------------------------------------------------------------------------------

MAX_STREAMS = 8
"""Each CPU stream holds the maps of one picture, some 300 MB at 512x512."""


@dataclass
class Outcome:
    """What became of one picture; ``reason`` is empty if all went well."""

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

    total: int = 0
    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    split: Seconds = field(default_factory=Seconds)
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Pictures per second of this run, without loading."""
        return self.done / self.seconds if self.seconds else 0.0

    def content(self) -> dict[str, Any]:
        """As in report.json."""
        return {**asdict(self), "pictures_per_second": self.rate}


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
    fit: str
    max_pixels: int

    def work(self, batches: Iterable[list[Job]], report: Callable[[Outcome], None]) -> Seconds:
        """Until ``batches`` ends. One outcome per job."""
        torch.set_num_threads(self.threads)  # OpenMP keeps this number per calling thread
        seconds = Seconds()
        for batch in batches:
            for outcome in self.parse(batch, seconds):
                report(outcome)
        return seconds

    def read(self, job: Job) -> Pixels:
        """Raises BadPictureError."""
        return read_picture(job.source, self.max_pixels)

    def parse(self, batch: list[Job], seconds: Seconds) -> Iterator[Outcome]:
        """One outcome per job; adds to ``seconds``."""
        by_size: dict[tuple[int, ...], list[tuple[Job, Pixels]]] = {}
        for job in batch:
            try:
                with seconds.spent_on("decode"):
                    picture = self.read(job)
                side = max(picture.shape[:2])
                if self.fit == "pad" and side**2 > self.max_pixels:
                    raise BadPictureError(
                        f"padded to {side}x{side}, more than --max-pixels {self.max_pixels}"
                    )
                by_size.setdefault(picture.shape, []).append((job, picture))
            except BadPictureError as error:
                yield Outcome(job, str(error))
        for group in by_size.values():
            yield from self._group(group, seconds)

    def _group(self, group: list[tuple[Job, Pixels]], seconds: Seconds) -> Iterator[Outcome]:
        """Pictures of one size."""
        try:
            with self.turn, seconds.spent_on("network"):
                frames = np.stack([to_frame(picture, self.fit) for _, picture in group])
                maps, probabilities = self.parser(frames)
        except (RuntimeError, MemoryError) as error:  # torch reports missing memory as a RuntimeError
            if len(group) > 1:
                for pair in group:
                    yield from self._group([pair], seconds)
            else:
                yield Outcome(
                    group[0][0], f"network: {(str(error).strip() or 'out of memory').splitlines()[0][:200]}"
                )
            return
        for index, (job, picture) in enumerate(group):
            labels = from_frame(maps[index], picture.shape, self.fit)
            try:
                with seconds.spent_on("encode"):
                    self.writer.write(
                        job, picture, labels, None if probabilities is None else probabilities[index]
                    )
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

SETTINGS_FILE = ".predict.json"
"""In the output folder: what made its label maps. Maps older than this file are of other settings."""

GPU_BATCH = 16


def automatic(text: str) -> int:
    """An argument that is "auto" (0) or a number above 0."""
    value = 0 if text == "auto" else int(text)
    if value < 0 or (value == 0 and text != "auto"):
        raise ValueError
    return value


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Parses faces: pictures in, palette PNGs of class ids out.",
        epilog="A model file is a program: run only those that you trust.",
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="file made by deploy.export")
    add("--input", required=True, help="folder, picture, quoted pattern, or .txt file with a path per line")
    add("--output", type=Path, required=True, help="folder for the label maps")
    add("--gallery", action="store_true", help="also OUTPUT/gallery.html: one page that shows them all")
    add("--device", default="auto", help="auto (every GPU, else the CPU), cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="fp32",
        help="fp32 gives training's labels; auto takes bf16 where the device multiplies it in hardware: "
        "twice as fast, a few labels per thousand differ",
    )
    add("--workers", type=automatic, default=0, help="streams per device; auto: one per core, at most 8")
    common_options(parser)
    return parser.parse_args(argv)


def common_options(parser: argparse.ArgumentParser) -> None:
    """What to make of each picture: deploy.cluster takes the same."""
    add = parser.add_argument
    add("--overlay", action="store_true", help="also OUTPUT/overlay: the classes' colours over the picture")
    add("--color", action="store_true", help="also OUTPUT/color: RGB pictures of the classes' colours")
    add("--parts", default="", help="also OUTPUT/parts/NAME: masks of 0 and 255 of these classes: hair,hat")
    add(
        "--probabilities",
        action="store_true",
        help="also OUTPUT/probabilities: fp16 npz at the network's size",
    )
    add("--labels", choices=("celebamask", "zllrunning"), default="celebamask", help="the ids' order")
    add(
        "--fit",
        choices=("stretch", "pad", "crop"),
        default="stretch",
        help="how a picture fills the network's square: stretched as in training, padded, or its middle",
    )
    add("--tta", choices=("none", "flip"), default="none", help="flip: averages with the mirrored picture")
    add("--batch-size", type=automatic, default=0, help="pictures at once; auto: 1 on CPUs, 16 on GPUs")
    add("--overwrite", action="store_true", help="do pictures again that are done already")
    add("--sha256", help="refuse a model file with another SHA-256")
    add("--max-pixels", type=int, default=MAX_PIXELS, help="refuse larger pictures (default: %(default)s)")


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
    on_gpu = device.type != "cpu"
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else cpu_has_bf16()
    return "bf16" if fast else "fp32"


def make_streams(
    options: argparse.Namespace, devices: list[torch.device], writer: Writer, jobs: int
) -> list[Stream]:
    """The streams of all devices; on the CPU they share its cores."""
    streams = min(options.workers or min(MAX_STREAMS, cores()), jobs)
    threads = max(1, cores() // streams)
    made: list[Stream] = []
    for device in devices:
        precision = choose_precision(options.precision, device)
        parser = Parser(options.model, device, precision, options.tta == "flip", options.probabilities)
        torch.set_num_threads(threads)
        parser.warm_up()
        turn = contextlib.nullcontext() if device.type == "cpu" else threading.Lock()
        stream = Stream(parser, writer, turn, threads, options.fit, options.max_pixels)
        made += [stream] * streams
    return made


def settings_of(options: argparse.Namespace, digest: str, precision: str) -> dict[str, Any]:
    """Whatever changes a label map."""
    chosen = {name: getattr(options, name) for name in ("fit", "tta", "labels")}
    return {"model_sha256": digest, "precision": precision, **chosen}


def claim(folder: Path, settings: dict[str, Any], overwrite: bool) -> float:
    """Notes the settings in the output folder. The time since when its label maps are of these settings."""
    path = folder / SETTINGS_FILE
    content = json.dumps(settings, indent=1).encode()
    try:
        if overwrite or not path.is_file() or path.read_bytes() != content:
            write_whole(path, content)
        return path.stat().st_mtime
    except OSError as error:
        raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None


def changed_at(path: Path) -> float:
    """When the file, or the link to it, came to be as it is; its own date may be older, or in the future."""
    found = [path.stat(), path.lstat()]
    if os.name == "nt":  # whose ctime is the time of creation
        return max(max(each.st_mtime, each.st_ctime) for each in found)
    return max(each.st_ctime for each in found)


def already_done(writer: Writer, job: Job, since: float) -> bool:
    """Whether all outputs stand and are newer than the picture and the settings."""
    try:
        changed = max(since, changed_at(job.source))
        return all(path.is_file() and path.stat().st_mtime >= changed for path in writer.targets(job))
    except OSError:
        return False


def refuse_collisions(outputs: Callable[[Job], Iterable[str]], jobs: list[Job]) -> None:
    """Raises CannotStartError if an output would replace another one."""
    seen: dict[str, Job] = {}
    for job in jobs:
        for name in outputs(job):
            other = seen.setdefault(name.casefold(), job)
            if other is not job:
                raise CannotStartError(
                    f"{job.source} and {other.source} would both be written to {name}: rename one"
                )


def refuse_replacing(outputs: Iterable[str], pictures: Iterable[str]) -> None:
    """Raises CannotStartError if an output would take the place of an input picture."""
    for path in sorted({*outputs}.intersection(pictures)):
        raise CannotStartError(f"{path} is an input picture, which an output would replace: change --output")


def refuse_foreign(found: Iterable[Path | str]) -> None:
    """Raises CannotStartError for outputs found in a folder that no predictor has written to."""
    for path in found:
        raise CannotStartError(f"{path} is there, and no predictor made it: choose another --output")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Generator[None]:
    """Locks the folder, which it makes. Raises CannotStartError while another process writes there.

    The kernel frees the lock however that one ends. Some network file systems have none for folders.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform != "win32":
                number = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, number)
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStartError(
                f"--output {folder}: another predictor writes there: wait for it"
            ) from None
        except OSError as error:
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise CannotStartError(f"--output {folder}: {error.strerror or error}") from None
        yield


def predict(options: argparse.Namespace, console: Console) -> Report:
    """The whole run. Raises CannotStartError."""
    digest = check_sha256(options.model, options.sha256)
    writer = Writer(read_metadata(options.model), options)
    devices = choose_devices(options.device)
    if options.output.resolve() == Path(options.input).resolve():
        raise CannotStartError(
            f"--output {options.output}: is the input folder, outputs would replace pictures"
        )
    jobs = find_pictures(options.input, options.output)
    refuse_collisions(writer.outputs, jobs)
    targets = [target for job in jobs for target in writer.targets(job)]
    refuse_replacing(map(os.path.realpath, targets), (os.path.realpath(job.source) for job in jobs))
    if not os.path.lexists(options.output / SETTINGS_FILE):
        refuse_foreign(path for path in targets if path.is_file() or path.is_symlink())
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
    prepare_output(options.output)
    settings = settings_of(options, digest, choose_precision(options.precision, devices[0]))
    since = claim(options.output, settings, options.overwrite)
    todo = [job for job in jobs if not already_done(writer, job, since)]
    report = Report(total=len(jobs), skipped=len(jobs) - len(todo))
    if todo:
        streams = make_streams(options, devices, writer, len(todo))
        size = options.batch_size or (1 if devices[0].type == "cpu" else GPU_BATCH)
        start = time.perf_counter()
        _drive(streams, Batches(todo, size), report, len(todo), console)
        report.seconds = time.perf_counter() - start
    done = (job for job in jobs if already_done(writer, job, since))
    _write_notes(options, writer, settings, done, report)
    return report


def _write_notes(
    options: argparse.Namespace, writer: Writer, settings: dict[str, Any], done: Iterable[Job], report: Report
) -> None:
    """The gallery of what is done by now, in this run or before, and report.json."""
    if options.gallery:
        pieces = (options.output / GALLERY / f"{job.name}.txt" for job in done)
        try:
            write_gallery(options.output / f"{GALLERY}.html", pieces, report.total, writer)
        except OSError as error:
            report.failed[f"{GALLERY}.html"] = f"not written: {error.strerror or error}"
    content = {"model": str(options.model), "settings": settings, **report.content()}
    try:
        write_whole(options.output / "report.json", json.dumps(content, indent=1).encode())
    except OSError as error:
        report.failed["report.json"] = f"not written: {error.strerror or error}"


def _drive(streams: list[Stream], batches: Batches, report: Report, total: int, console: Console) -> None:
    """Runs the streams under a progress bar; Ctrl-C and SIGTERM let them finish what they have begun."""

    def interrupt(number: int, frame: object) -> None:
        if report.interrupted:
            raise KeyboardInterrupt  # the second time: at once
        report.interrupted = True
        batches.stop()

    columns = (TextColumn("parsing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=total)

            def note(outcome: Outcome) -> None:
                if outcome.reason:
                    report.failed[printable(outcome.job.source)] = outcome.reason
                else:
                    report.done += 1
                progress.advance(task)

            report.split = run(streams, batches, note)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def printable(path: Path) -> str:
    """The path with bytes that are no UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def summarise(report: Report, console: Console) -> None:
    """What was done and where the time went."""
    for source, reason in list(report.failed.items())[:20]:
        console.print(
            f"failed: {source}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    if len(report.failed) > 20:
        console.print(f"... and {len(report.failed) - 20} more, all in report.json")
    counts = f"{report.done} done, {report.skipped} done before, {len(report.failed)} failed"
    split = asdict(report.split)
    busy = sum(split.values())
    shares = ", ".join(f"{part} {100 * value / busy:.0f} %" for part, value in split.items()) if busy else ""
    line = f"{counts}; {report.rate:.1f} pictures/s" + (f" ({shares})" if shares else "")
    console.print(line, highlight=False, soft_wrap=True)
    if report.interrupted:
        console.print("interrupted: the same command goes on from here")


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
    return conclude(report, console)


def conclude(report: Report, console: Console) -> int:
    """Prints the summary. The exit code."""
    summarise(report, console)
    if report.interrupted:
        return 130
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
