"""Counts on the CPU what would make the host wait for a GPU: no GPU is needed to see a synchronisation.

    with HostSyncs() as syncs:
        step(images, masks)
    assert syncs.found == []

Counted are reads of a value (``item``, ``bool``, ``int``), operations whose output's shape depends on values
(``nonzero``, ``unique``, boolean indexing, ``bincount``, ``masked_select``), and copies between devices that
are not ``non_blocking``. ``numpy()`` and ``tolist()`` of a CPU tensor go past torch's dispatcher and are not
seen. Numbers that are drawn on the host and stay there cost a GPU nothing: ``device=[images, masks, ...]``
counts only what was computed from these tensors. A test on the device "meta" is the sharper one where a
module runs there: reading any value of such a tensor raises.
"""

import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

ROOT = Path(__file__).resolve().parents[2]

WAITING = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "nonzero_numpy",
    "_unique2",
    "_unique",
    "unique_dim",
    "unique_consecutive",
    "histc",
    "argwhere",
}
"""Operations of ATen, without their overloads, after which the host waits for the device."""


class HostSyncs(TorchDispatchMode):
    """Collects synchronisations as "operation at file:line < file:line": where, then its callers in here.

    ``device`` names the tensors that would lie on the GPU; None takes all for such.
    """

    def __init__(self, device: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.found: list[str] = []
        self._on_device = None if device is None else WeakTensorKeyDictionary()
        for tensor in device or ():
            self._mark(tensor)

    def _mark(self, tensor: Tensor) -> None:
        if self._on_device is not None:
            self._on_device[tensor] = True

    def _counts(self, tensors: list[Tensor]) -> bool:
        return self._on_device is None or any(tensor in self._on_device for tensor in tensors)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        counts = self._counts(tensors)
        if counts and _waits(func, args, kwargs):
            self.found.append(f"{func.overloadpacket.__name__} at {_callers()}")
        result = func(*args, **kwargs)
        if counts and tensors:
            for each in tree_leaves(result):
                if isinstance(each, Tensor):
                    self._mark(each)
        return result


def _waits(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    name: str = func.overloadpacket.__name__
    if name in WAITING or (name == "repeat_interleave" and kwargs.get("output_size") is None):
        return True
    if name in ("index", "index_put", "index_put_", "_unsafe_index"):
        return any(each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1])
    if name == "_to_copy":
        device = kwargs.get("device")
        return device is not None and device != args[0].device and not kwargs.get("non_blocking", False)
    if name == "copy_":
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
        return blocking and args[0].device != args[1].device
    return False


def _callers() -> str:
    """Where it happened: the innermost frame, then up to three lines of this repository."""
    frames = [frame for frame in traceback.extract_stack() if frame.filename != __file__]
    frames = [frame for frame in frames if "/torch/" not in frame.filename]
    own = [frame for frame in frames if _is_ours(frame.filename)]
    shown = [frames[-1], *reversed(own[-3:])] if frames else []
    places = dict.fromkeys(f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in shown)
    return " < ".join(places)


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(ROOT) and ".venv" not in Path(filename).parts


def host_syncs(work: Callable[[], object], device: Iterable[Tensor] | None = None) -> list[str]:
    """The synchronisations of one call, forward and backward pass alike."""
    with HostSyncs(device) as mode:
        work()
    return mode.found
