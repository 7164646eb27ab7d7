"""Textures of high contrast around the face, on the device: stripes, checks, dots, print, lace, foliage.

Of all scales. A network that has only seen photographs may fail on lace, letters or lattices beside a face.
"""

import math

import torch
from torch import Tensor, nn

from lisa.augment.upload import upload
from lisa.labels import LabelSet

REGIONS = (
    {"background"},
    {"clothing", "neck", "necklace"},
    {"left_ear", "right_ear", "earrings"},
    {"hair", "hat"},
)
"""What one texture may cover, by the first role of a label that shows nothing else: in a quarter of the
pictures all of it, in the others each of these with a chance of half. The first label is the background."""

AROUND = frozenset[str]().union(*REGIONS)

ALL = 0.25
"""Share of the textured pictures in which a texture covers every region."""

FINEST = 2.0
"""Shortest period, in pixels."""

COARSEST = 1 / 8
"""Longest period, as a share of the side; periods are drawn evenly in their logarithm."""

WEAKEST = 0.5
"""Least opacity of a texture."""

CELLS = 64
"""Side of the block of black and white cells that print repeats."""

WAVES = 16
"""Waves that make up one foliage."""

LONGEST_WAVE = 32.0
"""Longest of these waves, in periods; their lengths are drawn evenly in their logarithm."""


class Textures(nn.Module):
    """Lays textures over ``share`` of the pictures; draws from torch's global CPU generator.

    Ignored pixels keep what they show: they may be parts of the face.
    """

    covered: Tensor

    def __init__(self, share: float, labels: LabelSet) -> None:
        super().__init__()
        self.share = share
        covered = torch.zeros(len(REGIONS), 256)
        covered[0, 0] = 1
        for region, roles in zip(covered, REGIONS, strict=True):
            for index, label in enumerate(labels.labels):
                if index and label.roles and label.roles[0] in roles and AROUND.issuperset(label.roles):
                    region[index] = 1
        self.register_buffer("covered", covered, persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Pictures (B,3,H,W) float32 in 0..1 and masks (B,H,W) uint8 to pictures."""
        chosen = (torch.rand(len(masks)) < self.share).nonzero()[:, 0]  # on the host
        count = len(chosen)
        if count == 0:
            return images
        index = upload(chosen, images.device)
        drawn = (torch.rand(count, len(REGIONS)) < 0.5) | (torch.rand(count, 1) < ALL)
        regions = upload(drawn.float(), images.device)
        opacity = upload(torch.empty(count, 1, 1, 1).uniform_(WEAKEST, 1), images.device)
        covered = (regions @ self.covered).gather(1, masks[index].flatten(1).long())
        dark, light = upload(_colours(count), images.device)
        texture = dark + (light - dark) * _patterns(count, images)
        weight = opacity * covered.view(count, 1, *masks.shape[1:])
        return images.index_copy(0, index, torch.lerp(images[index], texture, weight))


def _colours(count: int) -> Tensor:
    """(2,count,3,1,1): two colours per picture; for half of them black and white."""
    colours = torch.rand(2, count, 3).sort(0).values
    plain = torch.rand(count, 1) < 0.5
    return torch.where(plain, torch.tensor([0.0, 1.0]).view(2, 1, 1), colours)[..., None, None]


def _patterns(count: int, images: Tensor) -> Tensor:
    """(count,1,H,W): 0 and 1."""
    height, width = images.shape[2:]
    logs = math.log(FINEST), math.log(max(FINEST, COARSEST * width))
    period, turn = torch.empty(count).uniform_(*logs).exp(), torch.rand(count) * math.pi
    numbers = torch.stack([turn.cos() / period, turn.sin() / period, torch.rand(count), torch.rand(count)])
    along, beside, kind, share = upload(numbers, images.device)[:, :, None, None]
    cells = upload((torch.rand(count, CELLS * CELLS) < 0.5).float(), images.device)
    waves = upload(draw_waves(count), images.device)
    rows, columns = (torch.arange(length, device=images.device).float() for length in (height, width))
    u = rows[:, None] * along + columns * beside
    v = columns * along - rows[:, None] * beside
    stripes = u.remainder(1) < 0.2 + 0.6 * share
    u_cell, v_cell = (2 * u).floor(), (2 * v).floor()
    checks = (u_cell + v_cell).remainder(2) > 0
    dots = (u.remainder(1) - 0.5) ** 2 + (v.remainder(1) - 0.5) ** 2 < 0.02 + 0.18 * share
    place = u_cell.remainder(CELLS) * CELLS + v_cell.remainder(CELLS)
    printed = cells.gather(1, place.flatten(1).long()).view_as(place) > 0
    kinds = torch.stack([stripes, checks, dots, printed, _lace(u, v, share), foliage(u, v, waves)], 1)
    chosen = (kind * kinds.shape[1]).long()[:, None].expand(count, 1, height, width)
    return kinds.gather(1, chosen).float()


def _lace(u: Tensor, v: Tensor, share: Tensor) -> Tensor:
    """Flowers of rings on a net; ``u`` and ``v`` (count,H,W) are in periods of a ring."""
    net = 3 + 3 * share
    x, y = (u / net).remainder(1) - 0.5, (v / net).remainder(1) - 0.5
    petals = (3 + 9 * share).floor()
    return (net * torch.hypot(x, y) + 0.3 * (petals * torch.atan2(y, x)).cos()).remainder(1) < 0.5


def draw_waves(count: int) -> Tensor:
    """(WAVES,4,count,1,1): waves along u and v in cycles per period, phases in cycles, heights."""
    length = torch.empty(WAVES, count).uniform_(0, math.log(LONGEST_WAVE)).exp()
    angle = torch.rand(WAVES, count) * (2 * math.pi)
    phase = torch.rand(WAVES, count)
    return torch.stack([angle.cos() / length, angle.sin() / length, phase, length**0.3], 1)[..., None, None]


def foliage(u: Tensor, v: Tensor, waves: Tensor) -> Tensor:
    """Blotches of all sizes from the period up; ``u`` and ``v`` (count,H,W) are in periods."""
    total = torch.zeros_like(u)
    for along, beside, phase, height in waves.unbind():
        total += height * ((2 * math.pi) * (u * along + v * beside + phase)).cos()
    return total > 0
