"""From logits to the parts of a face: their maps, centres and masses."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .arrangement import Arrangement

CERTAIN = 0.25
"""Probabilities up to this count as none: many weak pixels make no part."""

REACH = 0.11
"""Half side of the box around a part's densest place, share of the window's side; twice for glasses."""


def part_maps(probabilities: Tensor, arrangement: Arrangement) -> Tensor:
    """(B,C,h,w) to (B,P,h,w): each part's probability where it is certain, else 0."""
    maps = torch.stack([probabilities[:, list(ids)].sum(1) for ids in arrangement.ids], 1)
    return torch.where(maps > CERTAIN, maps, 0.0)


def cover(probabilities: Tensor, arrangement: Arrangement) -> Tensor:
    """(B,C,n,n) to (B,): the share of the inner face that skin, eyes, nose, lips and the like cover."""
    side = probabilities.shape[-1]
    place = (torch.arange(side, device=probabilities.device) + 0.5) / side
    x, y, half_width, half_height = arrangement.ellipse()
    inside = ((place - x) / half_width) ** 2 + ((place[:, None] - y) / half_height) ** 2 < 1
    face = probabilities[:, list(arrangement.face_ids)].sum(1)
    return (face * inside).sum((1, 2)) / inside.sum()


def centres(maps: Tensor, arrangement: Arrangement) -> tuple[Tensor, Tensor]:
    """(B,P,n,n) to places (B,P,2), shares of the side, and masses (B,P), shares of the area.

    A part's centre is its centroid within a box around its densest place: stray blobs, which would pull the
    centroid of the whole window away, are left out.
    """
    reach = max(1, round(REACH * maps.shape[-1]))
    few = maps.shape[1] - arrangement.has_glasses
    found = [_centres(maps[:, :few], reach)]
    if arrangement.has_glasses:
        found.append(_centres(maps[:, few:], 2 * reach))
    return torch.cat([place for place, _ in found], 1), torch.cat([mass for _, mass in found], 1)


def box_means(maps: Tensor, reach: int) -> Tensor:
    """(B,P,h,w): the mean of the box of ``reach`` pixels around each pixel, 0 outside of the map."""
    length = 2 * reach + 1  # rows, then columns: a box of 17 x 17 would be 289 additions
    return F.avg_pool2d(F.avg_pool2d(maps, (1, length), 1, (0, reach)), (length, 1), 1, (reach, 0))


def _centres(maps: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    side = maps.shape[-1]
    dense = box_means(maps, reach).flatten(2).argmax(2)
    index = torch.arange(side, device=maps.device)
    rows = ((index - (dense // side)[..., None]).abs() <= reach).float()
    columns = ((index - (dense % side)[..., None]).abs() <= reach).float()
    boxed = maps * rows[..., :, None] * columns[..., None, :]
    mass = boxed.sum((2, 3))
    place = (index + 0.5) / side
    x, y = (boxed.sum(2) * place).sum(2), (boxed.sum(3) * place).sum(2)
    return torch.stack([x, y], 2) / mass.clamp(min=1e-6)[..., None], mass / side**2
