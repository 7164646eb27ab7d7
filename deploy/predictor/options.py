"""The command line's options: those of this program, and those that deploy.cluster has too."""

import argparse
import contextlib
from pathlib import Path

from .model import own_model
from .onnx_files import RUNTIMES
from .outputs import CELEBAMASK, FACE_PARSING, OLD_NAMES, OWN
from .pictures import MAX_PIXELS


def automatic(text: str) -> int:
    """An argument that is "auto" (0) or a number above 0."""
    if text == "auto":
        return 0
    try:
        return above_zero(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, nor auto") from None


def above_zero(text: str) -> int:
    """An argument that is a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def share(text: str) -> float:
    """An argument from 0 to below 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to below 1")


def named(text: str) -> str:
    """An argument that names something: an empty one, of a variable that is not set, would be this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty; . is the current folder")
    return text


def folder(text: str) -> Path:
    """A path that is named."""
    return Path(named(text))


def arguments(argv: list[str] | None, needs_model: bool = True) -> argparse.Namespace:
    """The command line; the model is None where none is given and none is needed."""
    parser = argparse.ArgumentParser(
        description="Parses faces: pictures in, palette PNGs of class ids out.",
        epilog="A model file is a program: run only those that you trust.",
    )
    add = parser.add_argument
    own = own_model()
    known = " (default: this one)" if own else "" if needs_model else " (default: the weights in the box)"
    required = needs_model and own is None
    add("--model", type=Path, default=own, required=required, help=f"file made by deploy.export{known}")
    add(
        "--input",
        required=True,
        type=named,
        help="folder, picture, quoted pattern, .txt file with a path per line, or one video (needs PyAV)",
    )
    add("--output", type=folder, required=True, help="folder for the label maps")
    add(
        "--steady",
        type=share,
        default=0.0,
        help="videos: 0 to below 1, the weight of a face's frames before in its labels (default: 0)",
    )
    add("--gallery", action="store_true", help="also OUTPUT/gallery.html: one page that shows them all")
    add("--device", default="auto", help="auto (every GPU, else the CPU; the default), cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=("auto", "fp32", "tf32", "bf16"),
        default="fp32",
        help="fp32 (the default) gives training's labels; tf32 is faster on GPUs, two labels in ten thousand "
        "differ; auto takes bf16 where the device multiplies it in hardware: twice as fast, a few in a "
        "thousand differ",
    )
    add(
        "--runtime",
        choices=("auto", "torch", *RUNTIMES),
        default="auto",
        help="what computes: torch for TorchScript files; for .onnx files auto is OpenVINO, or where that is "
        "not installed ONNX Runtime (default: auto)",
    )
    add(
        "--workers",
        type=automatic,
        default=0,
        help="streams per device; auto, the default: one per core, on CPUs at most 8",
    )
    common_options(parser)
    return parser.parse_args(argv)


def common_options(parser: argparse.ArgumentParser) -> None:
    """What to make of each picture: deploy.cluster takes the same."""
    add = parser.add_argument
    add("--overlay", action="store_true", help="also OUTPUT/overlay: the classes' colours over the picture")
    add("--color", action="store_true", help="also OUTPUT/color: RGB pictures of the classes' colours")
    add(
        "--parts",
        default="",
        help="also OUTPUT/parts/NAME: masks of 0 and 255 of these classes, or of unions: "
        "hair,hat,face=skin+nose+eyes",
    )
    add(
        "--cutout",
        default="",
        help="also OUTPUT/cutout: RGBA pictures of these classes alone, with soft edges: hair,hat,skin",
    )
    add(
        "--probabilities",
        action="store_true",
        help="also OUTPUT/probabilities: fp16 npz at the network's size",
    )
    add(
        "--labels",
        type=lambda name: OLD_NAMES.get(name, name),
        choices=(OWN, CELEBAMASK, FACE_PARSING),
        default=OWN,
        help="the ids' order: the model's own, or one of the two in circulation for CelebAMask-HQ's labels "
        "(default: %(default)s)",
    )
    add(
        "--fit",
        choices=("stretch", "pad", "crop"),
        default="stretch",
        help="how a picture fills the network's square: stretched as in training (the default), padded, or "
        "its middle",
    )
    add(
        "--faces",
        default="",
        metavar="auto|frame|find|FILE",
        help="frame: a face fills each picture, as in training; find: photographs, whose faces are found; "
        "auto: find for all but aligned faces; FILE: .jsonl or .csv with a box or five points per face "
        "(default: auto, with --fit pad or crop frame)",
    )
    add(
        "--face-maps",
        action="store_true",
        help="also OUTPUT/face_maps: TIFFs with a page for each face of a photo, in the order of faces.json, "
        "for faces that overlap",
    )
    add(
        "--tta",
        choices=("none", "flip"),
        default="none",
        help="flip: averages with the mirrored picture (default: none)",
    )
    add(
        "--batch-size",
        type=automatic,
        default=0,
        help="pictures at once; auto, the default: 1 on CPUs, 16 on GPUs",
    )
    add("--overwrite", action="store_true", help="do pictures again that are done already")
    add("--sha256", help="refuse a model file with another SHA-256")
    add(
        "--max-pixels",
        type=above_zero,
        default=MAX_PIXELS,
        help="refuse larger pictures (default: %(default)s)",
    )
