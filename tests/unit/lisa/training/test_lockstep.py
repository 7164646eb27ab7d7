"""Before each step: go on, save, stop, or fail together."""

import re
from collections.abc import Iterator

import pytest
from torch.utils.data import DataLoader, Dataset

from lisa.errors import InputError, StopAskedError
from lisa.training.lockstep import in_lockstep
from lisa.world import World


def test_batches_pass_and_saves_come_between():
    saved: list[int] = []
    seen: list[int] = []
    for number in in_lockstep(range(4), World(), lambda: len(seen) == 2, lambda: saved.append(len(seen))):
        seen.append(number)
    assert (seen, saved) == ([0, 1, 2, 3], [2])


@pytest.mark.parametrize("last", [2, 4])
def test_a_stop_is_heeded_before_the_next_step_and_after_the_last(last: int):
    world, seen = World(), list[int]()

    def train() -> None:
        for number in in_lockstep(range(4), world, lambda: False, pytest.fail):
            seen.append(number)
            world.stop_asked = len(seen) == last

    with pytest.raises(StopAskedError):
        train()
    assert len(seen) == last


class Damaged(Dataset[int]):
    def __getitem__(self, index: int) -> int:
        if index == 2:
            raise InputError("faces/2.png: cannot identify image file")
        return index

    def __len__(self) -> int:
        return 4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_the_loader_cannot_read_is_named_after_saving(workers: int):
    saved: list[bool] = []
    loader = DataLoader(Damaged(), num_workers=workers)
    batches = in_lockstep(loader, World(), lambda: False, lambda: saved.append(True))
    assert [int(next(batches)), int(next(batches))] == [0, 1]
    with pytest.raises(InputError) as caught:
        next(batches)
    assert re.fullmatch(
        r"rank 0 on \S+: faces/2\.png: cannot identify image file; .* go on with --resume", str(caught.value)
    )
    assert saved == [True]


def test_another_ranks_fault_is_told_here():
    class Two(World):
        def all_max(self, value: int) -> int:
            return 3

        def all_gather(self, value: object) -> list[object]:
            return [value, ("rank 1 on b", "faces/9.png: truncated")]

    def batches() -> Iterator[int]:
        yield 0

    with pytest.raises(InputError, match=r"rank 1 on b: faces/9\.png: truncated; repair"):
        next(in_lockstep(batches(), Two(world_size=2), lambda: False, lambda: None))
