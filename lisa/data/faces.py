"""Pairs of files to tensors."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lisa.data.pairs import Pair, decode


class DecodedFace(NamedTuple):
    """One decoded pair: ``image`` (3,H,W) uint8 RGB, ``mask`` (H,W) uint8 ids, 255 = ignore."""

    image: Tensor
    mask: Tensor
    number: int


class FaceDataset(Dataset[DecodedFace]):
    """Decodes pairs, at ``size`` x ``size`` pixels or, with None, picture and mask each at their own size.

    Raises InputError with the file's name for one that can't be read any more.
    """

    def __init__(self, pairs: Sequence[Pair], size: int | None) -> None:
        self.pairs = pairs
        self.size = size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> DecodedFace:
        return read_face(self.pairs[index], self.size, index)


def read_face(pair: Pair, size: int | None, number: int) -> DecodedFace:
    """The pair as face ``number`` of its split.

    Pictures are resized with an antialiased bilinear filter, masks by nearest neighbour.
    """
    image, mask = decode(pair)
    ids = torch.from_numpy(np.asarray(mask).copy())
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
        ids = nearest(ids, size, size, number)
    return DecodedFace(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1), ids, number)


def nearest(mask: Tensor, height: int, width: int, number: int) -> Tensor:
    """The mask (H,W) of face ``number`` at (height,width) by nearest neighbour, without a shift.

    At half the size the centre of each pixel lies between two of the mask's. Pillow and torch always take
    the one behind: networks learned labels a quarter of a pixel off. Here every second face takes the column
    before, and every second two of them the row above.
    """

    def pixels(length: int, size: int, before: int) -> Tensor:
        # In 2 * size-ths of a pixel, which are whole numbers: exact.
        centres = (2 * torch.arange(size, device=mask.device) + 1) * length
        return (centres - before) // (2 * size)

    rows, columns = pixels(mask.shape[0], height, number // 2 % 2), pixels(mask.shape[1], width, number % 2)
    return mask[rows[:, None], columns]


def collate_same_size(faces: list[DecodedFace]) -> tuple[Tensor, Tensor]:
    """Pictures (B,3,H,W) uint8 and masks (B,H,W) uint8."""
    return torch.stack([face.image for face in faces]), torch.stack([face.mask for face in faces])
