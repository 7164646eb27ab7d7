"""The order in which ranks see the pictures of an epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from lisa.config.limits import require_batch
from lisa.errors import InputError


class EpochBatches(Sampler[list[int]]):
    """A rank's batches of an epoch: every picture ``views`` times over all ranks, ordered by (seed, epoch).

    Global batches differ by at most one picture, and so do the ranks' shares of a batch, so that no picture
    is dropped or repeated and no rank goes without. Raises InputError with fewer pictures than ranks, of the
    split or of a batch.
    """

    def __init__(
        self, pictures: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1, views: int = 1
    ) -> None:
        if pictures < world_size:
            raise InputError(
                f"{pictures} training pictures can't be shared by {world_size} processes: use fewer"
            )
        require_batch(batch_size, world_size)
        self.pictures = pictures
        self.samples = pictures * views
        self.steps = min(-(-self.samples // batch_size), self.samples // world_size)
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """The next iteration yields this epoch's batches from number ``start`` on."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.steps - self.start

    def global_batch(self, number: int) -> int:
        """Pictures in this batch of an epoch over all ranks."""
        return self.samples // self.steps + (number < self.samples % self.steps)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.samples) % self.pictures
        for batch in np.array_split(order, self.steps)[self.start :]:
            yield np.array_split(batch, self.world_size)[self.rank].tolist()
