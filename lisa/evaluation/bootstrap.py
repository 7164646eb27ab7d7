"""How sure a figure is: the bootstrap over pictures (Efron, Annals of Statistics 1979)."""

import numpy as np
import torch

from lisa.evaluation.metrics import Tally, iou_of

RESAMPLES = 2000
SEED = 0
FEWEST = 5
QUANTILES = (0.025, 0.975)


def miou_interval(tally: Tally) -> tuple[float, float] | None:
    """95 % percentile interval of mIoU: where it would lie had other pictures of the same kind been drawn.

    Each resample draws as many pictures as there are, with replacement, and sums their integer counts before
    any ratio: the same bits whatever the number of ranks. With few pictures a rare class is missing from some
    resamples, and the interval is rough. Pictures of which nothing counts are not drawn. Returns None for
    fewer than FEWEST others: one picture, drawn again and again, would look certain.
    """
    counts = tally.regions.flatten(1).double().cpu().numpy()
    counts = counts[counts.any(1)]
    pictures = len(counts)
    if pictures < FEWEST:
        return None
    generator = np.random.default_rng(SEED)
    sums: list[np.ndarray] = []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(pictures, size=pictures), minlength=pictures)
        sums.append(times.astype(np.float64) @ counts)  # integers below 2**53: exact in any order
    mious = iou_of(torch.from_numpy(np.stack(sums)).unflatten(1, (3, -1))).nanmean(-1).numpy()
    low, high = np.quantile(mious, QUANTILES)
    return float(low), float(high)
