"""Makes the one file that people run: picture to labels in TorchScript, proven equal to the trained network.

python -m deploy.export --checkpoint runs/x/best.pt --output lisa.ts
"""

import json
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from deploy.predict import (
    FORMAT,
    METADATA_FILE,
    SUFFIXES,
    BadPictureError,
    CannotStartError,
    Parser,
    Pixels,
    cpu_has_bf16,
    keep_freed_memory,
    read_picture,
)
from deploy.rewrite import for_inference
from lisa.checkpoint import Trained, load_network
from lisa.data.pairs import split_folders
from lisa.data.synthetic import draw_face
from lisa.errors import InputError, one_line_errors
from lisa.labels import FLIP_PAIRS, NAMES, PALETTE
from lisa.models import count_parameters
from lisa.parser import FaceParser, argmax_at

MIN_EQUAL_LABELS = 0.9999
"""An exported file that agrees with the trained network on fewer labels is not written."""

MAX_PICTURES = 8
"""As many pictures, evenly spaced over those given, go through the parity gate."""


@dataclass(frozen=True)
class Settings:
    """Exports a checkpoint as one TorchScript file."""

    checkpoint: Path
    """best.pt of a training run."""
    output: Path
    """The file to write."""
    images: Path | None = None
    """Folder of pictures for the parity gate. Default: the run's own, or else synthetic faces."""


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
    """Writes the file and returns its metadata.

    Raises InputError for a bad checkpoint, bad pictures, an output that can't be written, and for an exported
    network that doesn't give the trained one's labels.
    """
    trained = load_network(checkpoint)
    size = trained.config.data.size
    pictures = gate_pictures(images, Path(trained.config.data.root))
    reference = FaceParser(trained.network, size).eval()
    metadata = _metadata(trained)
    with _whole_file(output) as temporary:
        exported = _script(Exported(InPrecision(for_inference(trained.network)), size).eval())
        _save(exported, metadata, temporary)
        metadata["parity"] = compare(reference, temporary, pictures)
        equal = metadata["parity"]["fp32"]["equal_labels"]
        if equal < MIN_EQUAL_LABELS:
            raise InputError(
                f"{checkpoint}: exported and trained network agree on {100 * equal:.4f} % of the labels, "
                f"{100 * MIN_EQUAL_LABELS} % are required: {output} is not written"
            )
        _save(exported, metadata, temporary)
    return metadata


def gate_pictures(images: Path | None, data_root: Path) -> list[Tensor]:
    """Pictures (1,3,H,W) uint8 for the parity gate: those given, the run's own, or synthetic faces."""
    if images is not None:
        if not images.is_dir():
            raise InputError(f"--images {images}: no such folder")
        found = _readable(images.rglob("*"))
        if not found:
            raise InputError(f"--images {images}: no readable pictures there")
        return found
    for split in ("val", "train"):
        with suppress(InputError):  # the data may have been moved since, or lie on another machine
            found = _readable(split_folders(data_root, split)[0].iterdir())
            if found:
                return found
    return [_as_tensor(draw_face(seed, 256)[0]) for seed in range(MAX_PICTURES)]


def _readable(paths: Iterable[Path]) -> list[Tensor]:
    """At most MAX_PICTURES pictures, evenly spaced over the sorted paths."""
    files = sorted(path for path in paths if path.suffix.lower() in SUFFIXES)
    pictures: list[Tensor] = []
    for path in files[:: -(-len(files) // MAX_PICTURES) or 1]:
        with suppress(BadPictureError):  # a picture that can't be read says nothing about the network
            pictures.append(_as_tensor(read_picture(path)))
    return pictures


def _as_tensor(picture: Pixels) -> Tensor:
    """(H,W,3) to (1,3,H,W)."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).unsqueeze(0)


def compare(reference: FaceParser, path: Path, pictures: list[Tensor]) -> dict[str, dict[str, Any]]:
    """Runs trained network and file, as the predictor runs it, over the pictures: figures by precision."""
    cpu = torch.device("cpu")
    try:
        parsers = {precision: Parser(path, cpu, precision) for precision in _precisions()}
    except CannotStartError as error:
        raise InputError(str(error)) from None
    differences = dict.fromkeys(parsers, 0.0)
    equal = dict.fromkeys(parsers, 0)
    with torch.inference_mode():
        for picture in pictures:
            expected = reference.logits(picture)
            labels = argmax_at(expected, picture.shape[2], picture.shape[3])
            for name, parser in parsers.items():
                logits = parser.model.logits(picture)
                differences[name] = max(differences[name], (logits - expected).abs().max().item())
                equal[name] += int((parser.model.labels(logits, *picture.shape[2:]) == labels).sum())
    pixels = sum(picture.shape[2] * picture.shape[3] for picture in pictures)
    return {
        name: {
            "pictures": len(pictures),
            "largest_logit_difference": differences[name],
            "equal_labels": equal[name] / pixels,
        }
        for name in parsers
    }


def _precisions() -> list[str]:
    return ["fp32", "bf16"] if cpu_has_bf16() else ["fp32"]


def _metadata(trained: Trained) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "size": trained.config.data.size,
        "labels": list(NAMES),
        "palette": list(PALETTE),
        "flip_pairs": [list(pair) for pair in FLIP_PAIRS],
        "parameters": count_parameters(trained.network),
        "config": trained.config.to_dict(),
        "metrics": trained.metrics,
        "versions": {"lisa": version("lisa-face-parser"), "torch": str(torch.__version__)},
    }


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
    with _torchscript_warnings_off():
        torch.jit.save(scripted, str(path), _extra_files={METADATA_FILE: json.dumps(metadata, indent=1)})


@contextmanager
def _whole_file(path: Path) -> Generator[Path]:
    """A temporary path beside ``path`` that takes its place if all goes well."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()  # torch reports a folder that can't be written as a RuntimeError of many lines
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error})") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def print_parity(metadata: dict[str, Any], console: Console) -> None:
    """The parity gate's figures."""
    table = Table(
        "precision", "pictures", "largest logit difference", "equal labels", title="exported against trained"
    )
    for name, row in metadata["parity"].items():
        difference = f"{row['largest_logit_difference']:.2g}"
        table.add_row(name, str(row["pictures"]), difference, f"{100 * row['equal_labels']:.4f} %")
    console.print(table)


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings)
    keep_freed_memory()
    torch.set_num_threads(1)  # two threads that share cores with other work wait for each other
    console = Console()
    with one_line_errors():
        metadata = export(settings.checkpoint, settings.output, settings.images)
        print_parity(metadata, console)
        console.print(
            f"wrote {settings.output} ({settings.output.stat().st_size / 2**20:.1f} MiB)", soft_wrap=True
        )


if __name__ == "__main__":
    main()
