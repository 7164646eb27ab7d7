"""The five points of a face that other tools ask for: eyes, nose, corners of the mouth."""

import torch
from torch import Tensor

from .arrangement import Arrangement
from .parts import centres, part_maps

CORNER = 0.02
"""Share of the mouth's pixels that lies beyond a corner."""

AROUND = (0.17, 0.12)
"""How far from its centre a mouth reaches, across and down, share of the side."""


def five_points(probabilities: Tensor, frames: Tensor, arrangement: Arrangement) -> Tensor:
    """(N,C,n,n) of frames (N,4) to (N,5,2): eyes, nose and mouth's corners in the photo, left as seen first.

    A part that can't be seen is given its place in the frame.
    """
    maps = part_maps(probabilities, arrangement)
    places, masses = (each.cpu() for each in centres(maps, arrangement))
    seen = (masses > 0.1 * arrangement.area)[..., None]
    places = torch.where(seen, places, arrangement.place)
    names = arrangement.names
    mouth = names.index("mouth")
    corners = _corners(maps[:, mouth].cpu(), places[:, mouth])
    nose = places[:, [names.index("nose")]] if "nose" in names else places[:, :2].mean(1, keepdim=True)
    points = (torch.cat([places[:, :2], nose, corners], 1) - 0.5) * frames[:, None, 2:3]
    cos, sin = frames[:, 3, None].cos(), frames[:, 3, None].sin()
    x, y = points.unbind(2)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], 2) + frames[:, None, :2]


def _corners(mouth: Tensor, centre: Tensor) -> Tensor:
    """(N,n,n) and (N,2) to (N,2,2): the mouth's left and right end, shares of the side."""
    side = mouth.shape[-1]
    place = (torch.arange(side) + 0.5) / side
    near_x, near_y = ((place - centre[:, [axis]]).abs() < reach for axis, reach in enumerate(AROUND))
    mouth = mouth * near_x[:, None] * near_y[:, :, None]
    columns = mouth.sum(1)
    amount = columns.sum(1, keepdim=True)
    below = columns.cumsum(1) / amount.clamp(min=1e-6)
    ends = torch.stack([(below < share).sum(1) for share in (CORNER, 1 - CORNER)], 1).clamp(max=side - 1)
    x = (ends + 0.5) / side
    strips = torch.gather(mouth, 2, ends[:, None].expand(-1, side, -1))
    y = (strips * place[None, :, None]).sum(1) / strips.sum(1).clamp(min=1e-6)
    found = torch.stack([x, y], 2)
    missing = (amount[:, :, None] == 0) | (strips.sum(1) == 0)[..., None]
    default = centre[:, None] + torch.tensor([[-0.09, 0.0], [0.09, 0.0]])
    return torch.where(missing, default, found)
