"""The front door for predictions: a file of weights in, a parser of pictures out.

parser = lisa.load()                  # the weights in the box; or lisa.load("runs/x/best.pt")
face = parser("photo.jpg")
face.overlay().save("overlay.png"); face.mask("hair", "hat"); face.areas["skin"]
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lisa.errors import InputError
from lisa.evaluation.float32 import ieee_float32
from lisa.exported import METADATA_FILE, TORCHSCRIPT, read_exported
from lisa.figures.sheet import overlay
from lisa.labels import Label, LabelSet, stored_label_set
from lisa.photographs import FoundFace, Mode, Photographs, Places
from lisa.pixels import Picture, pixels_of
from lisa.run.checkpoint import load_network
from lisa.weights import DRAWN, resolve
from lisa.world import usable_device

FORMAT = 2
"""The newest format of exported files that this version reads."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What a parser found in one picture."""

    ids: NDArray[np.uint8]
    """(H,W): ``names[ids[y, x]]`` is a pixel's label."""
    picture: NDArray[np.uint8] = field(repr=False)
    """(H,W,3) RGB: the picture that the ids belong to, upright by its EXIF tag."""
    labels: LabelSet = field(repr=False)
    """Names, colours and roles of the ids."""
    faces: tuple[FoundFace, ...] | None = None
    """The faces of a photograph, the surest first; None for a picture that was parsed as one frame."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ids, from 0 on."""
        return self.labels.names

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """(H,W): True where the label is one of ``names``. Raises InputError for a name that is no label."""
        unknown = [name for name in names if name not in self.names]
        if unknown or not names:
            wrong = f"no label {', '.join(map(repr, unknown))}" if unknown else "name at least one label"
            raise InputError(f"{wrong}; the labels are {', '.join(self.names)}")
        return np.isin(self.ids, [self.names.index(name) for name in names])

    @property
    def areas(self) -> dict[str, float]:
        """Each label's share of the picture, 0 to 1, by name; they add up to 1."""
        counts = np.bincount(self.ids.ravel(), minlength=len(self.names))
        return {name: int(count) / self.ids.size for name, count in zip(self.names, counts, strict=True)}

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The labels' colours blended over the picture; ``alpha`` is their weight, 0 to 1.

        Background stays as it is. Raises InputError for another weight.
        """
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha {alpha}: from 0 to 1")
        return Image.fromarray(overlay(self.picture, self.ids, self.labels, alpha))


class File(NamedTuple):
    """A file as it was at one time."""

    path: Path
    written: tuple[int, int]
    """Its date in nanoseconds and its size; zeros if there is none."""

    @classmethod
    def at(cls, path: Path) -> "File":
        """As it is now."""
        try:
            found = path.stat()
        except OSError:
            return cls(path.absolute(), (0, 0))
        return cls(path.absolute(), (found.st_mtime_ns, found.st_size))

    def require_same(self) -> None:
        """Raises InputError if it is another one by now: its program and finder would be of other weights."""
        if self != File.at(self.path):
            raise InputError(f"{self.path}: is gone or another file since it was loaded: load it again")


class Parser:
    """A network on a device: call it with one picture.

    ``names`` are the labels by id. ``origin`` says who trained the network if no run of ours did, and is
    empty otherwise.
    """

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        device: torch.device,
        labels: LabelSet,
        origin: str = "",
        exported: File | None = None,
        checkpoint: str = "best.pt",
    ) -> None:
        self.device = device
        self.labels = labels
        self.origin = origin
        self._model = model
        self._exported = exported
        self._checkpoint = checkpoint

    @property
    def names(self) -> tuple[str, ...]:
        """The labels by id."""
        return self.labels.names

    def __call__(self, picture: Picture, faces: Mode | Places = "frame") -> LabelMap:
        """Finds every pixel's label.

        With ``faces="find"`` the picture is a photograph: its faces are found, and all else is background;
        ``"auto"`` does so unless the picture is an aligned face. Boxes and points that another program found
        say where the faces are: lisa.photographs.Places. All of these need an exported file.

        A file or Pillow picture is turned upright by its EXIF tag and read as 8-bit RGB: grey and CMYK are
        converted, transparency is dropped, and grey of more than 8 bits is scaled (lisa.data.pictures).

        Raises:
            InputError: a file that can't be read, or an array or tensor of another shape or dtype; faces
                that this parser can't find.
        """
        if isinstance(faces, str) and faces not in get_args(Mode):
            raise InputError(f"faces {faces!r}: one of {', '.join(get_args(Mode))}, or boxes and points")
        pixels = np.array(pixels_of(picture))  # a copy: the caller may write the next frame into its array
        if not (isinstance(faces, str) and faces == "frame"):
            with torch.inference_mode(), ieee_float32(self.device):
                found = self._photographs(pixels, faces)
            if found is not None:
                return LabelMap(found[0], pixels, self.labels, tuple(found[1]))
        images = torch.from_numpy(pixels[None]).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode(), ieee_float32(self.device):
            ids = self._model(images)[0].cpu().numpy()
        return LabelMap(ids, pixels, self.labels)

    @cached_property
    def _photographs(self) -> Photographs:
        if self._exported is None:
            raise InputError(
                "a checkpoint parses faces that fill the picture; to find them export it: "
                f"python -m deploy.export --checkpoint {self._checkpoint} --output lisa.ts"
            )
        self._exported.require_same()
        return Photographs(self._exported.path, self.device)


def load(path: str | PathLike[str] = DRAWN, device: torch.device | str | None = None) -> Parser:
    """Loads a network for prediction, which computes in fp32.

    A checkpoint gives the ids that its evaluation counts, an exported file those that the predictor writes.

    Args:
        path: Without one, the weights in the box, trained on drawn faces alone (docs/model_card.md). Else
            best.pt or last.pt of a run, packed weights (.safetensors), a TorchScript file of deploy.export,
            or the best_model.pth that the report's author published (see ``Parser.origin``). An exported
            file is a program: load only those that you trust. The others are loaded weights-only.
        device: Where to compute; the first GPU, or the CPU where there is none, if not given.

    Raises:
        InputError: a file or device that can't be used.
    """
    named, path, device = str(path), resolve(Path(path)), usable_device(device, otherwise='device="cpu"')
    file = File.at(path)
    exported = _metadata(path)
    if exported is not None:
        model = _exported_model(path, device)
        return Parser(model, device, exported.labels, exported.origin, file)
    trained = load_network(path)
    return Parser(trained.parser(device), device, trained.config.labels, trained.origin, checkpoint=named)


class _Metadata(NamedTuple):
    """What an exported file says of its labels."""

    labels: LabelSet
    origin: str


def _metadata(path: Path) -> _Metadata | None:
    """An exported file's metadata; None for another file, which as a checkpoint gets a message."""
    try:
        exported = read_exported(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    if exported is None:
        return None
    if exported.kind != TORCHSCRIPT:
        raise InputError(
            f"{path}: is exported as {exported.kind}: give the .ts file of the same export, or best.pt"
        )
    content = exported.metadata
    try:
        written = content["format"]
        names, palette = tuple(content["labels"]), tuple(content["palette"])
        pairs = tuple((names[left], names[right]) for left, right in content["flip_pairs"])
        origin = str(content.get("origin", ""))
    except (KeyError, TypeError, AttributeError, IndexError, ValueError):
        raise InputError(f"{path}: its {METADATA_FILE} lacks format, labels, palette or flip_pairs") from None
    if not isinstance(written, int) or written > FORMAT:
        raise InputError(f"{path}: exported format {written}, this version reads up to {FORMAT}: update LISA")
    if len(palette) != 3 * len(names):
        raise InputError(f"{path}: its {METADATA_FILE} has {len(names)} labels, {len(palette)} colour values")
    if "label_set" in content:
        return _Metadata(stored_label_set(content["label_set"], str(path)), origin)
    return _Metadata(_plain_set(names, palette, pairs), origin)


def _plain_set(
    names: tuple[str, ...], palette: tuple[int, ...], pairs: tuple[tuple[str, str], ...]
) -> LabelSet:
    """The labels of a file that was exported before label sets had roles."""
    colors = np.array(palette).reshape(-1, 3).tolist()
    labels = (Label(name, (red, green, blue)) for name, (red, green, blue) in zip(names, colors, strict=True))
    return LabelSet("exported", tuple(labels), pairs)


def _exported_model(path: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Prepares a TorchScript file as the predictor does."""
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated upstream; each torch release warns in a category of its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            # torch's fuser would compile anew for every new size of a picture.
            torch.jit.set_fusion_strategy([])
            model = torch.jit.load(path, map_location=device).eval()
            if device.type == "cpu" and torch.backends.mkldnn.is_available():
                for module in model.modules():
                    if hasattr(module, "onednn"):  # a convolution that can be sent to oneDNN by name
                        setattr(module, "onednn", True)  # noqa: B010 - nn.Module's stubs know tensors only
            return torch.jit.freeze(model)
    except (RuntimeError, OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        ours = [line for line in lines if line.startswith(("CUDA error", "HIP error"))]
        raise InputError(f"{path}: can't be loaded ({(ours or lines[-1:])[0][:200]})") from None
