"""A network for prediction as safetensors: matrices in half precision, all else in full; no code in the file.

The same checkpoint gives the same bytes.
"""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lisa.errors import InputError
from lisa.system.files import write_whole

SUFFIX = ".safetensors"
KEY = "lisa"
"""The one entry of the file's metadata: several would come in another order each time."""
FIELDS = ("format", "config", "labels", "metrics", "versions")
"""What of a checkpoint the metadata hold, as JSON, beside the weights; OPTIONAL too where it is known."""
OPTIONAL = ("arrangement", "gone")


def mean_of(checkpoints: list[dict[str, Any]]) -> dict[str, Any]:
    """The last checkpoint with the mean of all weights, and without figures, which nobody has measured yet.

    Raises:
        InputError: they are of other networks or label sets.
    """
    *others, last = checkpoints
    if not others:
        return last
    for number, each in enumerate(others, start=1):
        differing = [f"model.{name}" for name in _differing(each["config"]["model"], last["config"]["model"])]
        if differing or _differing({"labels": each["labels"]}, {"labels": last["labels"]}):
            what = ", ".join(differing) or "labels"
            raise InputError(f"checkpoint {number} and the last have other {what}: there is no mean of them")
    weights = {
        name: torch.stack([each["weights"][name] for each in checkpoints]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in last["weights"].items()
    }
    return {**last, "weights": weights, "metrics": {}}


def _differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Keys of other values."""
    return [key for key, value in first.items() if _plain(value) != _plain(second.get(key))]


def _plain(value: Any) -> str:
    """As JSON: a packed file has lists where a run's checkpoint has tuples, and its keys are sorted."""
    return json.dumps(value, sort_keys=True)


def write_packed(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes what prediction needs of a checkpoint, half its size or less.

    Raises:
        InputError: a weight that half precision can't hold, or no room: the file is then as it was.
    """
    weights = {name: _packed(name, value) for name, value in checkpoint["weights"].items()}
    known = [*FIELDS, *(field for field in OPTIONAL if checkpoint.get(field))]
    content = {field: checkpoint[field] for field in known}
    # A second training gives the same weights and figures, in other seconds.
    content["metrics"] = {name: value for name, value in content["metrics"].items() if name != "timing"}
    write_whole(path, safetensors.torch.save(weights, {KEY: json.dumps(content, sort_keys=True)}))


def _packed(name: str, value: Tensor) -> Tensor:
    """Matrices and kernels in float16. Norms, biases and slopes are few, and a variance needs the range."""
    if value.dim() < 2 or not value.is_floating_point():
        return value.detach().contiguous()
    half = value.detach().half()
    if not torch.isfinite(half).all():
        raise InputError(f"{name}: its largest weight is {value.abs().max():.3g}, float16 ends at 65504")
    return half.contiguous()


def read_packed(path: Path) -> dict[str, Any]:
    """The file as a checkpoint: ``weights`` in float32 where they are floats, and FIELDS.

    Raises:
        InputError: it can't be read, or isn't such a file.
    """
    try:
        with safetensors.safe_open(path, "pt") as archive:
            content = json.loads((archive.metadata() or {}).get(KEY, "null"))
            weights = {name: _unpacked(archive.get_tensor(name)) for name in archive.keys()}  # noqa: SIM118
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(f"{path}: damaged or no safetensors file ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or any(field not in content for field in FIELDS):
        raise InputError(f"{path}: no LISA weights (its metadata lack {', '.join(FIELDS)})")
    return {"weights": weights, **content}


def _unpacked(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value
