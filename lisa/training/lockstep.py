"""All ranks take the same steps: before each, one small collective settles what everybody does next."""

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import TypeVar

from lisa.errors import InputError, StopAskedError, plain
from lisa.world import World

T = TypeVar("T")


class Order(IntEnum):
    """What a rank wishes before a step. The highest wish of all ranks is everybody's order."""

    GO_ON = 0
    SAVE = 1
    STOP = 2
    FAIL = 3


def in_lockstep(
    batches: Iterable[T], world: World, save_due: Callable[[], bool], save: Callable[[], None]
) -> Iterator[T]:
    """The batches, of which every rank has equally many, agreeing before each of them and after the last.

    A rank whose loader fails would leave the others waiting in the step's all-reduce: so the batch is fetched
    first, and the step begins once all have theirs. ``save`` is called on all ranks together.

    Raises:
        StopAskedError: a rank was asked to stop. Nothing is saved here.
        InputError: a rank's loader met a file that it can't read; the checkpoint is saved before.
    """
    iterator = iter(batches)
    while True:
        batch: T | None = None
        fault: InputError | None = None
        try:
            batch = next(iterator, None)
        except InputError as error:
            fault = error
        order = Order(world.all_max(_wish(world, fault, save_due)))
        if order is Order.STOP:
            raise StopAskedError
        if order in (Order.SAVE, Order.FAIL):
            save()
        if order is Order.FAIL:
            _raise_first(world, fault)
        if batch is None:
            return
        yield batch


def _wish(world: World, fault: InputError | None, save_due: Callable[[], bool]) -> Order:
    if fault is not None:
        return Order.FAIL
    if world.stop_asked:
        return Order.STOP
    return Order.SAVE if world.is_main and save_due() else Order.GO_ON


def _raise_first(world: World, fault: InputError | None) -> None:
    """Raises the first rank's fault on all ranks, with the rank's name."""
    for place, text in world.all_gather((world.place, None if fault is None else plain(fault))):
        if text is not None:
            raise InputError(f"{place}: {text}; repair or remove it, then go on with --resume")
