"""The model file: what it says of itself, and the network at work."""

import contextlib
import hashlib
import json
import stat
import threading
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from .errors import CannotStartError, cause, first_line
from .machine import is_out_of_memory, prepare_device, release_memory
from .onnx_files import choose_runtime, is_onnx, load_onnx, read_entry
from .pictures import Pixels

Probabilities = NDArray[np.float16]
"""(C,size,size), at the network's own resolution."""

METADATA_FILE = "lisa.json"
"""Name of the metadata inside the model file."""

FORMAT = 2
"""The newest model file that this program understands."""

SANE = 100.0
"""Logits of ordinary photographs stay near 40. A network that multiplies features without bound has far
larger ones where a texture sets it off, and its labels are then nonsense."""

_REQUIRED = {"format": int, "size": int, "labels": list, "palette": list, "flip_pairs": list}


def _metadata_names(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(f"/extra/{METADATA_FILE}")]


def _metadata_text(path: Path) -> bytes:
    if is_onnx(path):
        return read_entry(path, METADATA_FILE)
    with zipfile.ZipFile(path) as archive:
        names = _metadata_names(archive)
        if any(name.endswith("/archive_format") for name in archive.namelist()):
            raise CannotStartError(
                f"{path}: is a .pt2, for torch.export.load: give the .ts or .onnx file of the same export"
            )
        return archive.read(names[0]) if names else b"null"


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata inside a model file, read without running anything of it. Raises CannotStartError."""
    try:
        text = _metadata_text(path)
    except OSError as error:
        raise CannotStartError(f"{path}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CannotStartError(f"{path}: damaged, or no model file ({error})") from None
    try:
        metadata = json.loads(text)
    except ValueError:
        raise CannotStartError(f"{path}: its metadata is damaged") from None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("format"), int):
        raise CannotStartError(
            f"{path}: not made by deploy.export (it holds no {METADATA_FILE}); of a checkpoint: "
            f"python -m deploy.export --checkpoint {path} --output lisa.ts"
        )
    if metadata["format"] > FORMAT:
        raise CannotStartError(
            f"{path}: model format {metadata['format']}, this program reads up to {FORMAT}: "
            + ("take a newer predict.pyz" if is_onnx(path) else f"run the model file itself: python {path}")
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(metadata.get(key), kind):
            raise CannotStartError(f"{path}: its metadata lacks {key!r}")
    return metadata


def own_model() -> Path | None:
    """The model file that this program lies in, if it lies in one."""
    path = Path(__file__).parents[1]
    try:
        with zipfile.ZipFile(path) as archive:
            return path if _metadata_names(archive) else None
    except (OSError, zipfile.BadZipFile):  # a folder
        return None


def check_sha256(path: Path, expected: str | None) -> str:
    """The file's SHA-256. Raises CannotStartError if another one is expected."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise CannotStartError(f"{path}: is a pipe, not a file")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CannotStartError(f"{path}: {error.strerror or error}") from None
    if expected is not None and digest != expected.strip().lower():
        raise CannotStartError(f"{path}: its SHA-256 is {digest}, not {expected}")
    return digest


def refuse_flip(metadata: dict[str, Any]) -> None:
    """Raises CannotStartError for labels of one side, under whose name a mirrored picture shows the other."""
    if one_sided := metadata.get("one_sided"):
        raise CannotStartError(
            f"--tta flip: {', '.join(one_sided)}: the model has no label for the other side, which a "
            "mirrored picture would show under this name: leave it out"
        )


@dataclass(frozen=True)
class Prediction:
    """A model's answer to a batch of pictures of one size."""

    labels: Pixels
    """(B,H,W) ids."""
    largest: list[float]
    """The largest |logit| of each picture; more than SANE, or nan: its labels may be nonsense."""
    probabilities: NDArray[np.float16] | None
    """(B,C,size,size), if asked for."""


def largest_logits(logits: torch.Tensor) -> list[float]:
    """Of each picture of (B,C,H,W)."""
    everything = (1, 2, 3)
    return torch.maximum(logits.amax(everything), -logits.amin(everything)).tolist()


class ExportedModel:
    """An exported model on one device: a batch of pictures of one size in, their class ids out.

    ``flip`` averages the logits with those of the mirrored pictures, left and right labels swapped back.
    ``probabilities`` returns them too. ``runtime`` is torch for TorchScript, or what runs an ONNX file for
    ``streams`` threads. Threads may share it: ``turn`` lets one at a time onto a GPU, whose memory holds one
    batch's features; on the CPU each computes by itself.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        precision: str,
        flip: bool = False,
        probabilities: bool = False,
        runtime: str = "auto",
        streams: int = 1,
    ) -> None:
        self.metadata = read_metadata(path)
        prepare_device(device, precision)
        self.device, self.precision = device, precision
        self.turn: contextlib.AbstractContextManager[Any] = (
            contextlib.nullcontext() if device.type == "cpu" else threading.RLock()
        )
        self.flip = flip
        self.probabilities = probabilities
        self.swapped = list(range(len(self.metadata["labels"])))
        for left, right in self.metadata["flip_pairs"]:
            self.swapped[left], self.swapped[right] = right, left
        runtime = choose_runtime(runtime, path)
        self.engine: Any = (
            _load_script(path, device, precision)
            if runtime == "torch"
            else load_onnx(path, runtime, precision, streams)
        )

    @torch.inference_mode()
    def __call__(self, pictures: Pixels) -> Prediction:
        """Parses (B,H,W,3) uint8 RGB."""
        with self.turn:
            images = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)
            logits = self.logits(images)
            labels = self.engine.labels(logits, images.shape[2], images.shape[3]).cpu().numpy()
            probabilities = logits.softmax(1).half().cpu().numpy() if self.probabilities else None
            return Prediction(labels, largest_logits(logits), probabilities)

    @torch.inference_mode()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """(B,3,H,W) uint8 RGB, on the model's device, to float32 logits (B,C,size,size)."""
        with self.turn:
            logits = self.engine.logits(images)
            if self.flip:
                mirrored = self.engine.logits(images.flip(3)).flip(3)
                logits = (logits + mirrored[:, self.swapped]) / 2
            return logits

    def warm_up(self, batch: int = 1) -> None:
        """Runs batches of the size to come. TorchScript optimises during its first calls: they are slow.

        Raises CannotStartError if the device computes nothing at all.
        """
        size = self.metadata["size"]
        try:
            for _ in range(2):
                self(np.zeros((batch, size, size, 3), dtype=np.uint8))
            return
        except (RuntimeError, MemoryError) as error:
            reason = "out of memory" if is_out_of_memory(error) else first_line(error)
        if batch == 1:
            raise CannotStartError(f"{self.device}: the model doesn't run there ({reason})")
        release_memory(self.device)
        self.warm_up(1)  # pictures go one by one where a batch has no room


def _load_script(path: Path, device: torch.device, precision: str) -> torch.nn.Module:
    """The TorchScript file on its device. Raises CannotStartError."""
    try:
        return load_script(path, device, precision)
    except (RuntimeError, OSError, ValueError) as error:
        raise CannotStartError(f"{path}: can't be loaded ({cause(error)})") from None


def load_script(file: Path | IO[bytes], device: torch.device, precision: str) -> Any:
    """A network in TorchScript, ready to run on its device in fp32, tf32 or bf16.

    Raises RuntimeError, OSError and ValueError, as torch does.
    """
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream; each release warns in its own category.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        model = torch.jit.load(file, map_location=device).eval()
        model.network.to(torch.bfloat16 if precision == "bf16" else torch.float32)
        if device.type == "cpu" and torch.backends.mkldnn.is_available():
            _prefer_onednn(model)
        kept = [name for name in ("logits", "labels", "dense") if hasattr(model, name)]
        return torch.jit.freeze(model, preserved_attrs=kept)


def _prefer_onednn(model: torch.nn.Module) -> None:
    """Sends every convolution that can choose to oneDNN; freezing then drops the other branch."""
    for module in model.modules():
        if hasattr(module, "onednn"):
            setattr(module, "onednn", True)  # noqa: B010 - nn.Module's stubs know tensors and modules only
