"""EpochBatches for any numbers of pictures, batches, ranks and views."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lisa.data.epoch_batches import EpochBatches
from lisa.errors import InputError

small = st.integers(1, 60)


def epoch_of(batches: EpochBatches, epoch: int, start: int = 0) -> list[list[int]]:
    batches.set_position(epoch, start)
    return list(batches)


@given(small, small, st.integers(1, 6), st.integers(1, 3), st.data())
def test_an_epoch_is_a_partition_that_no_number_of_ranks_changes(
    pictures: int, batch_size: int, ranks: int, views: int, data: Any
):
    assume(pictures >= ranks <= batch_size)
    epoch = data.draw(st.integers(0, 3))
    sampler = [EpochBatches(pictures, batch_size, 3, rank, ranks, views) for rank in range(ranks)]
    shares = [epoch_of(each, epoch) for each in sampler]
    together = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert (np.bincount(list(chain(*together)), minlength=pictures) == views).all()
    for batch, parts in zip(together, zip(*shares, strict=True), strict=True):
        sizes = [len(part) for part in parts]
        assert 1 <= min(sizes) <= max(sizes) <= min(sizes) + 1
        assert len(batch) <= batch_size or len(together) == pictures * views // ranks
    sizes = [len(batch) for batch in together]
    assert max(sizes) <= min(sizes) + 1
    assert sizes == [sampler[0].global_batch(number) for number in range(len(sizes))]
    if len(epoch_of(alone := EpochBatches(pictures, batch_size, 3, views=views), epoch)) == len(together):
        assert epoch_of(alone, epoch) == together
    start = data.draw(st.integers(0, len(together)))
    rank = data.draw(st.integers(0, ranks - 1))
    assert epoch_of(sampler[rank], epoch, start) == shares[rank][start:]
    assert len(sampler[rank]) == len(shares[rank]) - start


def test_seed_and_epoch_change_the_order():
    def order(seed: int, epoch: int) -> list[int]:
        return list(chain(*epoch_of(EpochBatches(23, 8, seed), epoch)))

    assert order(3, 0) == order(3, 0)
    assert order(3, 0) != order(3, 1)
    assert order(3, 0) != order(4, 0)


def test_fewer_pictures_or_a_smaller_batch_than_ranks_are_refused():
    with pytest.raises(InputError, match="2 training pictures can't be shared by 3 processes"):
        EpochBatches(2, 8, 0, world_size=3)
    with pytest.raises(InputError, match="batch_size = 2: at least one picture for each of 3 processes"):
        EpochBatches(8, 2, 0, world_size=3)
