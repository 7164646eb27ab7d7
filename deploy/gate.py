"""The one way to an exported file: written whole or not at all, compared with the trained network."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.bounds import Bound, measure_bounds
from deploy.finder import NONE, choose_finder
from deploy.predictor.errors import BadPictureError
from deploy.predictor.inputs import SUFFIXES
from deploy.predictor.model import FORMAT
from deploy.predictor.pictures import Pixels, read_picture
from lisa.data.evenly import evenly
from lisa.data.folders import run_pictures
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.face_parser import FaceParser, argmax_at
from lisa.models import count_parameters
from lisa.run.checkpoint import Trained, load_network
from lisa.system.files import whole_file

Runner = Callable[[Tensor], tuple[Tensor, Tensor]]
"""An exported file at work: (1,3,H,W) uint8 to (1,H,W) uint8 labels and (1,C,size,size) logits."""

MIN_EQUAL_LABELS = 0.9999
"""An exported file that agrees with the trained network on fewer labels is not written."""

MAX_PICTURES = 8
"""As many pictures, evenly spaced over those given, go through the parity gate."""

DRAWN_FACES = "drawn faces"
BOUNDING_PICTURES = 30
"""As many training pictures tell how large the factors of a product ordinarily are."""


class ExportedFormat(ABC):
    """A trained network in one file format, its products within ``bounds`` if there are any."""

    @abstractmethod
    def __init__(self, trained: Trained, bounds: Sequence[Bound]) -> None: ...

    @abstractmethod
    def write(self, path: Path, metadata: dict[str, Any]) -> None:
        """Raises OSError."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> dict[str, Runner]:
        """The written file at work, by precision; "fp32" is the one that must agree."""

    def try_out(self, path: Path, pictures: list[Tensor], run: Runner) -> None:  # noqa: B027 - not all need it
        """Runs the finished file as its user does; ``run`` is it at work in fp32. Raises InputError."""


class FindingFormat(ExportedFormat):
    """One that finds faces in photographs too."""

    @abstractmethod
    def add_finder(self, finder: Trained | None) -> None:
        """Puts a second network into the file; None: the first finds them, or nobody does."""


def export_gated(
    kind: type[ExportedFormat],
    checkpoint: Path,
    output: Path,
    images: Path | None,
    finder: str = NONE,
) -> dict[str, Any]:
    """Makes, writes and runs the file; returns its metadata, which then holds the figures too.

    ``finder`` finds faces, in formats that can hold a second network: :func:`deploy.finder.choose_finder`.

    Raises InputError for a bad checkpoint, bad pictures, an output that can't be written, and for an exported
    network that doesn't give the trained one's labels.
    """
    trained = load_network(checkpoint)
    data = trained.config.data
    pictures = gate_pictures(images, Path(data.root), data.val_share)
    reference = trained.parser()
    # The gate's pictures are ordinary ones too: no bound may change them. Those that explode are left out.
    trained_on, by = training_pictures(Path(data.root), data.val_share)
    ordinary = [*pictures, *trained_on]
    bounds, sane = measure_bounds(reference, ordinary)
    pictures = [picture for picture, is_sane in zip(pictures, sane, strict=False) if is_sane] or pictures
    metadata = metadata_of(trained)
    largest = [list(bound) for bound in bounds]
    exploded = sane.count(False)
    metadata["bounds"] = {"pictures": len(ordinary), "exploded": exploded, "largest": largest, "by": by}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(output) as temporary:
            temporary.touch()  # torch reports a folder that can't be written as a RuntimeError of many lines
            exported = kind(trained, bounds)
            if isinstance(exported, FindingFormat):
                metadata["faces"], searching = choose_finder(trained, finder, pictures)
                exported.add_finder(searching)
            exported.write(temporary, metadata)
            runners = exported.load(temporary)
            metadata["parity"] = compare(reference, runners, pictures)
            require_equal(metadata["parity"], checkpoint, output)
            exported.write(temporary, metadata)
            exported.try_out(temporary, pictures, runners["fp32"])
    except OSError as error:
        raise InputError(f"{output}: can't be written ({error.strerror or error})") from None
    return metadata


def gate_pictures(images: Path | None, data_root: Path, val_share: float = 0.0) -> list[Tensor]:
    """Pictures (1,3,H,W) uint8 for the parity gate: those given, the run's own, or synthetic faces.

    Raises InputError for a folder ``images`` that is not there, or holds no readable picture.
    """
    if images is not None:
        if not images.is_dir():
            raise InputError(f"--images {images}: no such folder")
        found = _readable(images.rglob("*"))
        if not found:
            raise InputError(f"--images {images}: no readable pictures there")
        return found
    for split in ("val", "train"):
        with suppress(InputError, OSError):  # the data may have been moved since, or lie on another machine
            found = _readable(run_pictures(data_root, split, val_share))
            if found:
                return found
    return _drawn_faces(MAX_PICTURES)


def training_pictures(data_root: Path, val_share: float = 0.0) -> tuple[list[Tensor], str]:
    """Pictures (1,3,H,W) uint8 that the network was trained on, or drawn faces where these are not here.

    And which of the two they are: "training pictures" or DRAWN_FACES.
    """
    with suppress(InputError, OSError):
        return _readable(run_pictures(data_root, "train", val_share), BOUNDING_PICTURES), "training pictures"
    return _drawn_faces(BOUNDING_PICTURES), DRAWN_FACES


@cache
def _drawn_faces(count: int) -> list[Tensor]:
    """Drawn once in a process, however many files it exports."""
    return [_as_tensor(draw_face(seed, 256)[0]) for seed in range(count)]


def _readable(paths: Iterable[Path], most: int = MAX_PICTURES) -> list[Tensor]:
    """At most so many pictures, evenly spaced over the sorted paths."""
    files = sorted(path for path in paths if path.suffix.lower() in SUFFIXES)
    pictures: list[Tensor] = []
    for path in evenly(files, most):
        with suppress(BadPictureError):  # a picture that can't be read says nothing about the network
            pictures.append(_as_tensor(read_picture(path)))
    return pictures


def _as_tensor(picture: Pixels) -> Tensor:
    """(H,W,3) to (1,3,H,W)."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1).unsqueeze(0)


def compare(reference: FaceParser, runners: dict[str, Runner], pictures: list[Tensor]) -> dict[str, Any]:
    """Figures by the runners' names: trained network and exported files over pictures (1,3,H,W) uint8."""
    differences = dict.fromkeys(runners, torch.zeros(()))
    equal = dict.fromkeys(runners, 0)
    with torch.inference_mode():
        for picture in pictures:
            expected = reference.logits(picture)
            labels = argmax_at(expected, picture.shape[2], picture.shape[3])
            for name, runner in runners.items():
                found, logits = runner(picture)
                # torch's maximum keeps a NaN, Python's may lose it.
                differences[name] = torch.maximum(differences[name], (logits - expected).abs().max())
                equal[name] += int((found == labels).sum())
    pixels = sum(picture.shape[2] * picture.shape[3] for picture in pictures)
    return {
        name: {
            "pictures": len(pictures),
            "largest_logit_difference": differences[name].item(),
            "equal_labels": equal[name] / pixels,
        }
        for name in runners
    }


def require_equal(parity: dict[str, Any], checkpoint: Path, output: Path) -> None:
    """Raises InputError if the fp32 figures are not those of the trained network, or no figures at all."""
    for figures in (row for name, row in parity.items() if name.endswith("fp32")):
        equal = figures["equal_labels"]
        if not math.isfinite(figures["largest_logit_difference"]):
            raise InputError(f"{checkpoint}: its logits are not finite: {output} is not written")
        if equal < MIN_EQUAL_LABELS:
            raise InputError(
                f"{checkpoint}: exported and trained network agree on {100 * equal:.4f} % of the labels, "
                f"{100 * MIN_EQUAL_LABELS} % are required: {output} is not written"
            )


def metadata_of(trained: Trained) -> dict[str, Any]:
    """What an exported file says of itself, but for its parity."""
    labels = trained.config.labels
    return {
        "format": FORMAT,
        "size": trained.config.data.size,
        "labels": list(labels.names),
        "palette": list(labels.palette),
        "flip_pairs": [list(pair) for pair in labels.flip_pairs],
        "one_sided": list(labels.one_sided),
        "label_set": labels.to_dict(),
        "parameters": count_parameters(trained.network),
        "config": trained.config.to_dict(),
        "metrics": trained.metrics,
        **({"origin": trained.origin} if trained.origin else {}),
        **({"gone": dict(trained.gone)} if trained.gone else {}),
        "versions": {"lisa": version("lisa-face-parser"), "torch": str(torch.__version__)},
    }
