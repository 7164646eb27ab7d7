"""The file that people run: TorchScript with the predictor inside, so that the model is the program."""

import io
import json
import site
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from deploy.bounds import Bound
from deploy.bundle import append_predictor
from deploy.finder import RECOGNISED, recognised
from deploy.gate import MIN_EQUAL_LABELS, FindingFormat, Runner
from deploy.predictor.errors import CannotStartError
from deploy.predictor.finding import FINDER_FILE, open_finder
from deploy.predictor.machine import cpu_has_bf16
from deploy.predictor.model import METADATA_FILE, ExportedModel
from deploy.rewrite import for_inference
from lisa.errors import InputError
from lisa.face_parser import FaceParser, argmax_at
from lisa.run.checkpoint import Trained

TRY_OUT_SECONDS = 900
"""A finished file that takes longer over a few pictures hangs."""


class InPrecision(nn.Module):
    """A network that takes its input in whatever dtype its weights were cast to."""

    precision: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("precision", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B,3,H,W) of any float dtype to logits in the weights' dtype."""
        return self.network(x.to(self.precision.dtype))


class Exported(FaceParser):
    """FaceParser as it lies in the file: ``logits`` and ``labels`` can be called on their own too."""

    @torch.jit.export
    def labels(self, logits: Tensor, height: int, width: int) -> Tensor:
        """(B,C,h,w) logits to (B,height,width) uint8 ids."""
        return argmax_at(logits, height, width)

    @torch.jit.export
    def dense(self, images: Tensor) -> Tensor:
        """(B,3,H,W) RGB in 0..255, sides multiples of 32, to float32 logits (B,C,H,W): nothing is resized."""
        return self.network(self.normalise(images)).float()


class TorchScript(FindingFormat):
    """TorchScript and the predictor in one zip."""

    def __init__(self, trained: Trained, bounds: Sequence[Bound]) -> None:
        network = InPrecision(for_inference(trained.network, bounds))
        with _torchscript_warnings_off():
            self.scripted = torch.jit.script(Exported(network, trained.config.data.size).eval())
        self.finder = b""

    def add_finder(self, finder: Trained | None) -> None:
        """The second network travels in half precision."""
        if finder is None:
            return
        exported = Exported(InPrecision(for_inference(finder.network)), finder.config.data.size).eval()
        exported.network.half()
        content = io.BytesIO()
        with _torchscript_warnings_off():
            torch.jit.save(torch.jit.script(exported), content)
        self.finder = content.getvalue()

    def write(self, path: Path, metadata: dict[str, Any]) -> None:
        """Raises OSError."""
        # Into a file on a full disk torch.jit.save hides the OSError behind errors of its own.
        content = io.BytesIO()
        with _torchscript_warnings_off():
            extra = {METADATA_FILE: json.dumps(metadata, indent=1)}
            torch.jit.save(self.scripted, content, _extra_files=extra)
        append_predictor(content)
        if self.finder:
            with zipfile.ZipFile(content, "a") as archive:
                archive.writestr(zipfile.ZipInfo(FINDER_FILE), self.finder)
        path.write_bytes(content.getbuffer())

    @staticmethod
    def load(path: Path) -> dict[str, Runner]:
        """The file as the predictor runs it, by precision."""
        try:
            return {precision: _runner(path, precision) for precision in _precisions()}
        except CannotStartError as error:
            raise InputError(str(error)) from None

    def try_out(self, path: Path, pictures: list[Tensor], run: Runner) -> None:
        """Runs ``python FILE`` over the pictures; its maps must be the gate's. Raises InputError."""
        with tempfile.TemporaryDirectory() as folder:
            _run_as_program(path, pictures, Path(folder))
            equal = pixels = 0
            for index, picture in enumerate(pictures):
                with Image.open(Path(folder, "out", f"{index}.png")) as image:
                    found = np.asarray(image)
                equal += int((found == run(picture)[0][0].numpy()).sum())
                pixels += found.size
        if equal < MIN_EQUAL_LABELS * pixels:  # a program of more threads may round otherwise
            share = f"{100 * equal / pixels:.4f} %"
            raise InputError(f"the file, run as a program, gives {share} of its labels: it is not written")
        for precision in _precisions():
            finder = open_finder(ExportedModel(path, torch.device("cpu"), precision), path)
            if finder is not None and (found := recognised(finder, pictures)) < RECOGNISED * len(pictures):
                raise InputError(
                    f"the file's finder recognises {found} of {len(pictures)} aligned faces in {precision}: "
                    "it is not written"
                )


def _run_as_program(path: Path, pictures: list[Tensor], folder: Path) -> None:
    """As a user does: from another folder, in a process of its own that sees nothing of this project."""
    (folder / "in").mkdir()
    for index, picture in enumerate(pictures):
        Image.fromarray(picture[0].permute(1, 2, 0).numpy()).save(folder / "in" / f"{index}.png")
    # -I hides PYTHONPATH and the user's own packages, which is where some machines keep torch.
    isolated = ["-I"] if str(Path(torch.__file__).parents[1]) in site.getsitepackages() else []
    command = [sys.executable, *isolated, str(path.resolve()), "--device", "cpu"]
    command += ["--faces", "frame", "--input", "in", "--output", "out"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=TRY_OUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise InputError("the file, run as a program, does not end: it is not written") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if line.startswith(("failed: ", "error: "))), lines[-1])
        raise InputError(f"the file, run as a program, fails: {reason}: it is not written")


def _runner(path: Path, precision: str) -> Runner:
    script = ExportedModel(path, torch.device("cpu"), precision).engine

    @torch.inference_mode()
    def run(picture: Tensor) -> tuple[Tensor, Tensor]:
        logits = script.logits(picture)
        return script.labels(logits, picture.shape[2], picture.shape[3]), logits

    return run


def _precisions() -> list[str]:
    return ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]


@contextmanager
def _torchscript_warnings_off() -> Generator[None]:
    """TorchScript is deprecated upstream; each torch release warns in a category of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
