"""Ranks that go round by round: a stop, and a fault, end all of them together."""

from collections.abc import Callable

import pytest

from lisa.errors import InputError, StopAskedError
from lisa.evaluation.rounds import in_rounds
from lisa.world import World


class Other(World):
    """A rank beside another one, which asks for a stop in its round ``stops``."""

    def __init__(self, stops: int = -1) -> None:
        super().__init__()
        self.stops, self.told = stops, list[int]()

    def start_all_max(self, value: int) -> Callable[[], int]:
        self.told.append(value)
        theirs = int(len(self.told) > self.stops >= 0)
        return lambda: max(value, theirs)

    def any(self, flag: bool) -> bool:
        return flag or self.stops >= 0


def test_ranks_go_round_by_round_and_heed_a_stop_together():
    world, done = Other(stops=3), list[int]()
    with pytest.raises(StopAskedError):
        in_rounds(lambda: done.append(len(done)), 9, world)
    assert world.told == [0, 0, 0, 0]
    assert len(done) == 3


def test_a_rank_that_cannot_go_on_keeps_its_rounds_until_all_know():
    world, done = Other(), list[int]()

    def action() -> None:
        done.append(len(done))
        if len(done) == 2:
            raise InputError("faces/2.png: truncated")

    with pytest.raises(InputError, match="truncated"):
        in_rounds(action, 9, world)
    assert world.told == [0, 0, 0, 1]  # the first is of before the rounds
    assert len(done) == 2


def test_every_rank_has_as_many_rounds():
    world, done = Other(), list[int]()
    in_rounds(lambda: done.append(0), 3, world)
    assert (len(world.told), len(done)) == (4, 3)
