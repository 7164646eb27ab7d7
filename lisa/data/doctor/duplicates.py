"""Pictures that come twice, by their perceptual hashes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

NEAR = 32
"""Bits of 256 in which copies may differ. Recompressed, halved or brightened copies differ in 18 at most;
the nearest pair of different faces differs in 66 (847 real ones) or 48 (600 synthetic ones)."""
BLOCK = 2048


def near_pairs(fingerprints: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """Indices (first < second) of near-duplicates among hashes (N, 256), and the bits they differ in.

    All pairs are compared, block by block: +-1 vectors differ in (bits - dot product) / 2 places.
    """
    signs = np.where(fingerprints, np.float32(1), np.float32(-1))
    bits = signs.shape[1] if signs.ndim == 2 else 0
    for row in range(0, len(signs), BLOCK):
        for column in range(row, len(signs), BLOCK):
            distance = (bits - signs[row : row + BLOCK] @ signs[column : column + BLOCK].T) / 2
            for first, second in np.argwhere(distance <= NEAR).tolist():
                if row + first < column + second:
                    yield row + first, column + second, int(distance[first, second])
