"""A picture of any kind as RGB pixels, for lisa.load's parsers."""

from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lisa.data.exif import open_picture
from lisa.data.heif import no_format
from lisa.data.pictures import upright_rgb
from lisa.errors import InputError

Picture = str | PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor
"""A file, a Pillow picture of any mode, or RGB: an array (H,W,3) or a tensor (3,H,W), uint8."""


def pixels_of(picture: object) -> NDArray[np.uint8]:
    """(H,W,3) uint8 RGB of whatever a parser takes. Raises InputError."""
    if isinstance(picture, Tensor):
        if picture.dim() != 3 or picture.shape[0] != 3 or picture.dtype != torch.uint8 or not picture.numel():
            shape = tuple(picture.shape)
            raise InputError(f"tensor of shape {shape}, {picture.dtype}: give (3,H,W) RGB in torch.uint8")
        return picture.detach().cpu().permute(1, 2, 0).numpy()
    if isinstance(picture, np.ndarray):
        pixels = picture
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
            raise InputError(f"array of shape {pixels.shape}, {pixels.dtype}: give (H,W,3) RGB in uint8")
        return pixels
    if isinstance(picture, (str, PathLike, Image.Image)):
        return _decoded(picture)
    kind = type(picture).__name__
    raise InputError(f"{kind}: give a path, a Pillow picture, an array (H,W,3) or a tensor (3,H,W)")


def _decoded(picture: str | PathLike[str] | Image.Image) -> NDArray[np.uint8]:
    """(H,W,3) uint8 RGB of a file or Pillow picture. Raises InputError."""
    name = "picture" if isinstance(picture, Image.Image) else str(picture)
    try:
        if isinstance(picture, Image.Image):
            pixels = np.asarray(upright_rgb(picture))
        else:
            with open_picture(Path(picture)) as stored:
                pixels = np.asarray(upright_rgb(stored))
    except Image.UnidentifiedImageError:
        raise InputError(f"{name}: {no_format(Path(name))}") from None
    except Exception as error:  # decoders raise what they like on damaged files: SyntaxError, struct.error...
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{name}: {reason}") from None
    if not pixels.size:
        raise InputError(f"{name}: no pixels ({pixels.shape[1]}x{pixels.shape[0]})")
    return pixels
