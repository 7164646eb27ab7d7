"""Makes the one file that people run: picture to labels in TorchScript, proven equal to the trained network.

python -m deploy.export --checkpoint runs/x/best.pt --output lisa.ts
"""

import io
import json
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from deploy.formats import Format, export_as
from deploy.gate import Runner, Save, export_gated
from deploy.predictor.errors import CannotStartError
from deploy.predictor.machine import cpu_has_bf16, keep_freed_memory
from deploy.predictor.model import METADATA_FILE, Parser
from deploy.rewrite import for_inference
from lisa.errors import InputError, one_line_errors
from lisa.face_parser import FaceParser, argmax_at
from lisa.run.checkpoint import Trained


@dataclass(frozen=True)
class Settings:
    """Exports a checkpoint as one TorchScript file, and in other formats on request."""

    checkpoint: Path
    """best.pt of a training run, or the report's author's best_model.pth."""
    output: Path
    """The file to write."""
    images: Path | None = None
    """Folder of pictures for the parity gate. Default: the run's own, or else synthetic faces."""
    also: tuple[Format, ...] = ()
    """Also these formats, beside the output under their own suffix."""


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


def export(checkpoint: Path, output: Path, images: Path | None = None) -> dict[str, Any]:
    """Writes the TorchScript file and returns its metadata; see the gate."""

    def make(trained: Trained) -> Save:
        network = InPrecision(for_inference(trained.network))
        exported = _script(Exported(network, trained.config.data.size).eval())
        return lambda path, metadata: _save(exported, metadata, path)

    return export_gated(checkpoint, output, images, make, _runners)


def _runners(path: Path) -> dict[str, Runner]:
    """The file as the predictor runs it, by precision."""

    def runner(precision: str) -> Runner:
        model = Parser(path, torch.device("cpu"), precision).model

        def run(picture: Tensor) -> tuple[Tensor, Tensor]:
            logits = model.logits(picture)
            return model.labels(logits, picture.shape[2], picture.shape[3]), logits

        return run

    try:
        return {precision: runner(precision) for precision in _precisions()}
    except CannotStartError as error:
        raise InputError(str(error)) from None


def _precisions() -> list[str]:
    return ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]


@contextmanager
def _torchscript_warnings_off() -> Generator[None]:
    """TorchScript is deprecated upstream; each torch release warns in a category of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _script(module: nn.Module) -> torch.jit.ScriptModule:
    with _torchscript_warnings_off():
        return torch.jit.script(module)


def _save(scripted: torch.jit.ScriptModule, metadata: dict[str, Any], path: Path) -> None:
    # Into a file on a full disk torch.jit.save hides the OSError behind errors of its own.
    content = io.BytesIO()
    with _torchscript_warnings_off():
        torch.jit.save(scripted, content, _extra_files={METADATA_FILE: json.dumps(metadata, indent=1)})
    path.write_bytes(content.getbuffer())


def print_parity(metadata: dict[str, dict[str, Any]], console: Console) -> None:
    """The parity gate's figures, by file."""
    columns = ("file", "precision", "pictures", "largest logit difference", "equal labels")
    table = Table(*columns, title="exported against trained")
    for file, content in metadata.items():
        for precision, row in content["parity"].items():
            difference = f"{row['largest_logit_difference']:.2g}"
            equal = f"{100 * row['equal_labels']:.4f} %"
            table.add_row(file, precision, str(row["pictures"]), difference, equal)
    console.print(table)


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings)
    keep_freed_memory()
    torch.set_num_threads(1)  # two threads that share cores with other work wait for each other
    console = Console()
    with one_line_errors():
        outputs: dict[Format, Path] = {
            kind: settings.output.with_suffix(f".{kind}") for kind in settings.also
        }
        if settings.output in outputs.values():
            raise InputError(f"--output {settings.output}: choose another suffix, such as .ts, beside --also")
        metadata = {settings.output.name: export(settings.checkpoint, settings.output, settings.images)}
        for kind, output in outputs.items():
            metadata[output.name] = export_as(kind, settings.checkpoint, output, settings.images)
        print_parity(metadata, console)
        if origin := metadata[settings.output.name].get("origin"):
            console.print(f"{settings.checkpoint}: {origin}", markup=False, highlight=False, soft_wrap=True)
        for output in (settings.output, *outputs.values()):
            console.print(f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)", soft_wrap=True)


if __name__ == "__main__":
    main()
