"""The similarity that carries an aligned face's parts to where they were found, and how well it does."""

from typing import NamedTuple

import torch
from torch import Tensor

from .arrangement import Arrangement

ROUNDS = 5
WIDTHS = (0.12, 0.12, 0.06, 0.06, 0.06)
"""How far a part may lie from its place to count in each round, share of the frame's side."""

SMALLEST, LARGEST = 0.22, 2.2
"""Sides that a frame may have, in sides of the window that it was found in."""

THERE = 0.55
"""How much of a part, 0 to 1, is at its place if the part counts as seen."""

FLOOR = 0.012
"""No part's place is surer than this, share of the side."""


class Fit(NamedTuple):
    """position = scale * rotation(angle) * place + shift, in sides of the window, for B windows."""

    matrix: Tensor
    """(B,4): scale * cos(angle), scale * sin(angle), shift x, shift y."""
    score: Tensor
    """(B,) 0 to 1: how much of a face there is, and how near its parts lie to their places."""
    parts: Tensor
    """(B,) how many parts are there and at their places; glasses are none."""


def fit(places: Tensor, masses: Tensor, arrangement: Arrangement) -> Fit:
    """Robust weighted least squares over parts (B,P,2) of masses (B,P).

    Mirrored or scrambled parts fit no similarity: their residuals take the score away.
    """
    goal, area = arrangement.place, arrangement.area
    base = arrangement.weight / (arrangement.spread**2 + FLOOR**2)
    if arrangement.has_glasses:  # they stand in for eyes that can't be seen
        eyes = (masses[:, :2] / (0.25 * area[:2])).clamp(max=1).amax(1)
        masses = torch.cat([masses[:, :-1], masses[:, -1:] * (1 - eyes[:, None])], 1)
        base = torch.cat([base[:-1], 1 / (arrangement.spread[-1:] ** 2 + FLOOR**2)])
    constant = base * (masses / (0.25 * area)).clamp(max=1) * (masses > 1e-5)
    scale, near = torch.ones(len(places)), torch.ones_like(masses)
    matrix, residual = torch.zeros(len(places), 4), torch.zeros_like(masses)
    for width in WIDTHS:
        weight = constant * _enough(masses, area, scale) * near + 1e-9
        matrix = _least_squares(goal, places, weight)
        scale = matrix[:, :2].norm(dim=1).clamp(0.05, 5)
        residual = (apply(matrix, goal) - places).norm(dim=2) / scale[:, None]
        near = torch.exp(-((residual / width) ** 2) / 2)
    tolerance = arrangement.spread + 0.02
    right = _enough(masses, area, scale) * torch.exp(-((residual / tolerance) ** 2) / 2)
    rest = slice(2, len(goal) - arrangement.has_glasses)
    score = arrangement.without_eyes(right) + (right * arrangement.weight)[:, rest].sum(1)
    score = score / arrangement.total_weight
    possible = ((right > 0.3).sum(1) >= 3) & (scale > SMALLEST) & (scale < LARGEST)
    count = (right[:, : rest.stop] > THERE).sum(1)
    return Fit(matrix, torch.where(possible, score, 0.3 * score), count)


def _enough(masses: Tensor, area: Tensor, scale: Tensor) -> Tensor:
    """(B,P) 0 to 1: whether there is as much of each part as a face of this size has."""
    return (masses / (0.35 * area * scale[:, None] ** 2)).clamp(max=1)


def apply(matrix: Tensor, points: Tensor) -> Tensor:
    """(B,4) similarities of (P,2) points: (B,P,2)."""
    cos, sin, x, y = (each[:, None] for each in matrix.unbind(1))
    return torch.stack(
        [cos * points[:, 0] - sin * points[:, 1] + x, sin * points[:, 0] + cos * points[:, 1] + y], 2
    )


def _least_squares(goal: Tensor, places: Tensor, weight: Tensor) -> Tensor:
    """The similarity from goal (P,2) to places (B,P,2) that weight (B,P) says is the best, (B,4)."""
    total = weight.sum(1, keepdim=True)
    from_centre = (weight[..., None] * goal).sum(1) / total
    to_centre = (weight[..., None] * places).sum(1) / total
    source, target = goal - from_centre[:, None], places - to_centre[:, None]
    size = (weight * (source**2).sum(2)).sum(1) + 1e-9
    cos = (weight * (source * target).sum(2)).sum(1) / size
    turned = source[..., 0] * target[..., 1] - source[..., 1] * target[..., 0]
    sin = (weight * turned).sum(1) / size
    x = to_centre[:, 0] - (cos * from_centre[:, 0] - sin * from_centre[:, 1])
    y = to_centre[:, 1] - (sin * from_centre[:, 0] + cos * from_centre[:, 1])
    return torch.stack([cos, sin, x, y], 1)
