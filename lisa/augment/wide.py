"""Wide geometry: faces of any place, size and turn on clutter, and clutter without a face.

A network that is to find faces in whole photographs must know what is no aligned face.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lisa.augment.clutter import draw_clutter
from lisa.augment.upload import upload
from lisa.config import AugmentConfig
from lisa.labels import LabelSet

SMALLEST, LARGEST = 0.33, 1.6
"""The former frame's side, as a share of the new one's; sizes are drawn evenly in their logarithm."""

TURN = 40.0
"""Largest turn either way, degrees."""

BEYOND = 0.22
"""How far a frame reaches over the picture's edge, or the picture over the frame's; share of the side."""

CUT_OUT = 0.4
"""Share of the faces that come without what was behind them."""

FINER = 2
"""Samples per pixel and direction: faces shrink to a third."""


class WideGeometry(nn.Module):
    """Places faces on clutter, and replaces others by clutter; draws from torch's global CPU generator.

    ``labels`` say whether everything but the background is the person, who may then be cut out.
    """

    def __init__(self, config: AugmentConfig, labels: LabelSet) -> None:
        super().__init__()
        self.wide, self.negatives = config.wide, config.negatives
        self.cut_out = CUT_OUT if labels.alone("background") == 0 else 0.0

    @torch.no_grad()
    def forward(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,S,S) and (B,S,S) uint8 to float32 pictures in 0..255 and uint8 masks."""
        images = images.float()
        without_face = torch.rand(len(masks)) < self.negatives
        chosen = (without_face | (torch.rand(len(masks)) < self.wide)).nonzero()[:, 0]  # on the host
        count = len(chosen)
        if count == 0:
            return images, masks
        index = upload(chosen, masks.device)
        shown = upload(torch.stack([~without_face[chosen], torch.rand(count) < self.cut_out]), masks.device)
        matrices = upload(_similarities(count), masks.device)
        placed, opacity, moved = _place(images[index], masks[index], matrices, shown[1])
        opacity = opacity * shown[0][:, None, None, None]
        changed = torch.lerp(draw_clutter(images, count), placed, opacity)
        moved = moved * shown[0][:, None, None]
        return images.index_copy(0, index, changed), masks.index_copy(0, index, moved)


def _similarities(count: int) -> Tensor:
    """(count,2,3): from the new frame's coordinates, -1..1, to the former one's."""
    size = torch.exp(torch.empty(count).uniform_(math.log(SMALLEST), math.log(LARGEST)))
    angle = torch.deg2rad(torch.empty(count).uniform_(-TURN, TURN))
    reach = (1 - size).abs() + 2 * BEYOND
    x, y = (torch.empty(2, count).uniform_(-1, 1) * reach).unbind()
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [torch.stack([cos, sin, -(cos * x + sin * y)], 1), torch.stack([-sin, cos, sin * x - cos * y], 1)]
    return torch.stack(rows, 1)


def _place(images: Tensor, masks: Tensor, matrices: Tensor, cut_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n,3,S,S), their opacity (n,1,S,S) and masks (n,S,S) uint8, background outside, as placed."""
    count, _, height, width = images.shape
    fine = [count, 1, FINER * height, FINER * width]
    grid = F.affine_grid(matrices, fine, align_corners=False)
    placed = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1).all(3)[:, None].float()
    person = F.grid_sample((masks != 0)[:, None].float(), grid, padding_mode="border", align_corners=False)
    opacity = inside * torch.where(cut_out[:, None, None, None], person, 1.0)
    grid = F.affine_grid(matrices, [count, 1, height, width], align_corners=False)
    moved = F.grid_sample(masks[:, None].float(), grid, mode="nearest", align_corners=False)
    return F.avg_pool2d(placed, FINER), F.avg_pool2d(opacity, FINER), moved[:, 0].to(torch.uint8)
