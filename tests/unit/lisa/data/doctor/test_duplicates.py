"""Pictures that are nearly the same."""

import numpy as np

from lisa.data.doctor.duplicates import BLOCK, near_pairs


def test_near_pairs_are_found_across_blocks():
    rng = np.random.default_rng(0)
    prints = rng.random((BLOCK + 50, 256)) < 0.5
    prints[BLOCK + 40] = prints[3]
    prints[BLOCK + 41] = prints[BLOCK + 1]
    prints[BLOCK + 41, :20] ^= True
    assert sorted(near_pairs(prints)) == [(3, BLOCK + 40, 0), (BLOCK + 1, BLOCK + 41, 20)]
    assert list(near_pairs(np.zeros((0,), bool))) == []
