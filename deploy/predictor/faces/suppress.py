"""Two frames of one face: the better one stays."""

import math

from torch import Tensor


def kept(
    frames: Tensor, scores: Tensor, distance: float, ratio: float = math.inf, most: int = 99
) -> list[int]:
    """Indices of frames (N,4) that no better one stands for, best first.

    One stands for another if their centres are nearer than ``distance``, and their sides' quotient is below
    ``ratio``. The distance counts in the smaller side, or the larger one where any quotient will do.
    """
    found: list[int] = []
    values = frames.tolist()
    for index in scores.argsort(descending=True).tolist():
        if len(found) < most and not any(_same(values[index], values[j], distance, ratio) for j in found):
            found.append(index)
    return found


def _same(one: list[float], other: list[float], distance: float, ratio: float) -> bool:
    small, large = sorted((one[2], other[2]))
    unit = large if math.isinf(ratio) else small
    near = math.hypot(one[0] - other[0], one[1] - other[1]) < distance * unit
    return near and large < ratio * max(small, 1e-6)
