"""Makes the one file that people run: picture to labels in TorchScript, proven equal to the trained network.

python -m deploy.export --checkpoint runs/x/best.pt --output lisa.ts
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from deploy.finder import AUTO, NONE
from deploy.formats import FORMATS, Format
from deploy.gate import DRAWN_FACES, export_gated
from deploy.predictor.machine import keep_freed_memory
from deploy.torchscript import TorchScript
from lisa.errors import InputError, one_line_errors
from lisa.weights import DRAWN, resolve


@dataclass(frozen=True)
class Settings:
    """Exports a checkpoint as one TorchScript file, and in other formats on request."""

    checkpoint: Path
    """best.pt of a training run, the report's author's best_model.pth, or drawn: the weights in the box."""
    output: Path
    """The file to write."""
    images: Path | None = None
    """Folder of ordinary pictures of the network's kind, for the parity gate and the bounds of LISA's
    products. Default: the run's own, or else drawn faces."""
    finder: str = AUTO
    """What finds the faces in photographs. auto: the network itself if it was trained at 128 pixels or fewer
    and with augment.wide, else the weights in the box. none: no finder. Or best.pt of the recipe finder."""
    also: tuple[Format, ...] = ()
    """Also these formats, beside the output under their own suffix."""


def export(checkpoint: Path, output: Path, images: Path | None = None, finder: str = AUTO) -> dict[str, Any]:
    """Writes the TorchScript file, which is the predictor too, and returns its metadata; see the gate.

    Raises:
        InputError: the name is one of another format, as which the file would be read, the checkpoint's or
            the finder's own, a word that names one of these, or a folder's.
    """
    if output.suffix.lower() in {f".{kind}" for kind in FORMATS}:
        raise InputError(
            f"--output {output}: is written as TorchScript: give .ts, and --also {output.suffix[1:].lower()}"
        )
    if str(output) in (DRAWN, AUTO, NONE):
        raise InputError(f"--output {output}: is a word of --checkpoint or --finder: give a file")
    for name, given in (("checkpoint", checkpoint), ("finder's checkpoint", finder)):
        if output.resolve() == resolve(given).resolve():
            raise InputError(f"--output {output}: is the {name}, whose weights would be lost")
    if output.is_dir():
        raise InputError(f"--output {output}: can't be written: it is a folder; name the file to write")
    return export_gated(TorchScript, checkpoint, output, images, finder)


def export_as(kind: Format, checkpoint: Path, output: Path, images: Path | None = None) -> dict[str, Any]:
    """Writes another format and returns its metadata, which it holds under the name ``lisa.json``."""
    return export_gated(FORMATS[kind], checkpoint, output, images)


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
        made = export(settings.checkpoint, settings.output, settings.images, settings.finder)
        metadata = {settings.output.name: made}
        for kind, output in outputs.items():
            metadata[output.name] = export_as(kind, settings.checkpoint, output, settings.images)
        print_parity(metadata, console)
        if exploded := made["bounds"]["exploded"]:
            console.print(
                f"the logits of {exploded} of {made['bounds']['pictures']} pictures explode in the trained "
                "network: it was not compared on these",
                highlight=False,
            )
        if made["bounds"]["by"] == DRAWN_FACES and str(settings.checkpoint) != DRAWN:
            console.print(
                "the run's training pictures are not here: drawn faces say how large its products may be "
                "(export where the data lies, or give ordinary pictures of its kind with --images)",
                highlight=False,
                soft_wrap=True,
            )
        if reason := made["faces"].get("reason"):
            console.print(
                f"it parses faces that fill the frame and finds none in photographs: {reason}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        if origin := metadata[settings.output.name].get("origin"):
            console.print(f"{settings.checkpoint}: {origin}", markup=False, highlight=False, soft_wrap=True)
        for output in (settings.output, *outputs.values()):
            text = f"wrote {output} ({output.stat().st_size / 2**20:.1f} MiB)"
            console.print(text, soft_wrap=True, markup=False, highlight=False)


if __name__ == "__main__":
    main()
