"""Checkpoints: written atomically, loaded weights-only, complete in themselves.

A checkpoint is a plain dict. ``weights`` are averaged where the config keeps an average (in ``best.pt`` raw
where those were better); beside them ``config``, ``labels``, ``metrics`` and ``versions``. ``last.pt`` also
holds ``training``: what a run needs to go on exactly where it stood. The file that the report's author
published is read as a checkpoint too; ``origin`` then says so.
"""

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from lisa.config import Config, DataConfig, report
from lisa.config.from_plain import without_gone
from lisa.errors import InputError
from lisa.exported import read_exported
from lisa.face_parser import FaceParser
from lisa.labels import NUM_CLASSES
from lisa.models import build, from_published
from lisa.models.published import is_published
from lisa.run.names import BEST
from lisa.system.files import whole_file
from lisa.weights import resolve
from lisa.weights.packed import SUFFIX, read_packed

FORMAT = 3
"""Raised when an older reader could misunderstand a newer file. ``_upgrade`` reads the formats before it."""

_REQUIRED = ("format", "weights", "config", "labels", "metrics", "versions")


PUBLISHED = (
    "weights that the report's author published; label order and figures are the author's (the file names no "
    "labels: ids are read in CelebAMask-HQ's order, that of the author's training data)"
)
"""``origin`` of the author's file."""


class DamagedError(InputError):
    """The file is gone, cut short or changed: an older one may serve."""


class Trained(NamedTuple):
    """A network with its evaluated weights, how it was trained, and what it scored."""

    network: nn.Module
    config: Config
    metrics: dict[str, Any]
    origin: str = ""
    """Who trained it, if no run of ours did; empty for ours."""
    arrangement: dict[str, Any] | None = None
    """Where parts of its training faces lie, or why nobody knows (lisa.data.arrangement); None if unsaid."""
    gone: Mapping[str, Any] = MappingProxyType({})
    """Options that trained it and were removed since, by dotted name."""

    def parser(self, device: torch.device | str = "cpu") -> FaceParser:
        """The network with everything around it, at the size that it was trained at, ready to predict."""
        return FaceParser.for_prediction(self.network, self.config.data.size, device)


def payload(
    weights: dict[str, Any],
    config: Config,
    metrics: dict[str, Any],
    arrangement: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The part of a checkpoint that every reader needs; ``arrangement`` as lisa.data.arrangement has it."""
    return {
        "format": FORMAT,
        "weights": weights,
        "config": config.to_dict(),
        "labels": list(config.labels.names),
        "metrics": metrics,
        "versions": {"torch": str(torch.__version__), "timm": timm.__version__},
        **({} if arrangement is None else {"arrangement": arrangement}),
    }


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes a checkpoint: see :func:`write`."""
    write(pack(checkpoint), path)


def pack(checkpoint: dict[str, Any]) -> memoryview:
    """The file's bytes. On a full disk torch.save into a file hides the OSError behind errors of its own."""
    content = io.BytesIO()
    torch.save(checkpoint, content)
    return content.getbuffer()


def write(content: memoryview, path: Path, former: Path | None = None) -> None:
    """Writes under a temporary name, flushes to disk, renames: the file is whole or not there.

    With ``former`` the file that was there before goes on under this name. Raises OSError for a full disk;
    all files are then as they were.
    """
    with whole_file(path) as temporary:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if former is not None and path.exists():
            path.replace(former)


def load(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint, weights-only, to the CPU.

    It may be one of ours, the author's published file, packed weights (.safetensors), or the word ``drawn``:
    the weights in the box.

    Raises:
        DamagedError: it can't be read.
        InputError: it is no checkpoint, or one of another version or label contract.
    """
    path = resolve(path)
    if path.suffix == SUFFIX:
        return _checked(read_packed(path), path)
    try:
        _check_sums(path)
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        hint = f"; give {path / BEST}" if (path / BEST).is_file() else ""
        raise DamagedError(f"{path}: {error.strerror or error}{hint}") from None
    except Exception as error:  # torch.load raises a different class for each kind of damage
        if exported := read_exported(path):
            raise InputError(
                f"{path}: is an exported file ({exported.kind}), no checkpoint: give best.pt of its run"
            ) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DamagedError(f"{path}: damaged or no LISA checkpoint ({reason})") from error
    if is_published(checkpoint):
        return _as_checkpoint(checkpoint, path)
    if not isinstance(checkpoint, dict) or any(key not in checkpoint for key in _REQUIRED):
        raise InputError(f"{path}: no LISA checkpoint (it lacks {', '.join(_REQUIRED)})")
    return _checked(checkpoint, path)


def _checked(checkpoint: dict[str, Any], path: Path) -> dict[str, Any]:
    """A checkpoint as this version writes it. Raises InputError for one that it can't read."""
    if checkpoint["format"] not in range(1, FORMAT + 1):
        raise InputError(
            f"{path}: checkpoint format {checkpoint['format']}, this version reads 1 to {FORMAT}: "
            "use the version of LISA that wrote it, or a newer one"
        )
    checkpoint = _upgrade(checkpoint)
    names = list(Config.from_dict(checkpoint["config"]).labels.names)
    if checkpoint["labels"] != names:
        raise InputError(f"{path}: its labels {checkpoint['labels']} are not those of its config, {names}")
    return checkpoint


def _check_sums(path: Path) -> None:
    """Raises for a file with a changed bit: torch.load does not look at the archive's check sums."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong check sum of {damaged}")


def _as_checkpoint(state: Mapping[str, torch.Tensor], path: Path) -> dict[str, Any]:
    """The author's state dict as a checkpoint of ours: no figures, and the report's recipe as its config."""
    try:
        network = from_published(state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if network.final.out_channels != NUM_CLASSES:
        raise InputError(f"{path}: a network of {network.final.out_channels} labels, not {NUM_CLASSES}")
    config = replace(report(), data=DataConfig(root="CelebAMask-HQ"))
    content = payload(network.state_dict(), config, {})
    return {**content, "versions": {}, "origin": PUBLISHED}


def _upgrade(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """An older version's checkpoint in this one's form; ``gone`` tells removed options that were on."""
    config, gone = without_gone(checkpoint["config"])
    checkpoint = {**checkpoint, "config": config, "gone": {**checkpoint.get("gone", {}), **gone}}
    training: dict[str, Any] | None = checkpoint.get("training")
    if training is not None:
        ranks = len(training["loss_sums"])
        pictures = training["batch"] * config["train"]["batch_size"] / ranks
        # Formats 1 and 2 did not know how many ranks began, and of which pictures the losses are.
        training = {"begun_with": ranks, "loss_pictures": ranks * [pictures], **training}
        training.pop("events", None)  # format 2: lengths of TensorBoard's files
        checkpoint = {**checkpoint, "training": training}
    return {**checkpoint, "format": FORMAT}


def load_network(path: str | Path) -> Trained:
    """The checkpoint's network with its evaluated weights, in eval mode, on the CPU."""
    checkpoint = load(path)
    config = Config.from_dict(checkpoint["config"])
    network = build(config.model, len(config.labels))
    load_weights(network, checkpoint["weights"], path)
    origin, arrangement = checkpoint.get("origin", ""), checkpoint.get("arrangement")
    gone = checkpoint.get("gone", {})
    return Trained(network.eval(), config, checkpoint["metrics"], origin, arrangement, gone)


def load_weights(network: nn.Module, weights: dict[str, Any], path: str | Path) -> None:
    """load_state_dict; raises InputError, one line, for weights of another network."""
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{path}: weights of another network ({first[:200]})") from None
