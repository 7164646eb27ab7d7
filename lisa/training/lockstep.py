"""All ranks do the same between two steps: one small collective settles what."""

from collections.abc import Callable
from enum import IntEnum

from lisa.errors import InputError
from lisa.world import World


class Order(IntEnum):
    """What a rank wishes before a step. The highest wish of all ranks is everybody's order."""

    GO_ON = 0
    SAVE = 1
    STOP = 2
    FAIL = 3


def propose(world: World, fault: InputError | None, save_due: bool) -> Callable[[], Order]:
    """Tells all ranks what this one wishes, and returns at once; what it returns waits for the order.

    ``fault`` is why this rank has no batch. Rank 0 alone says when a checkpoint is due.
    """
    wish = Order.GO_ON
    if fault is not None:
        wish = Order.FAIL
    elif world.stop_asked:
        wish = Order.STOP
    elif world.is_main and save_due:
        wish = Order.SAVE
    answer = world.start_all_max(wish)
    return lambda: Order(answer())


def raise_first(world: World, fault: InputError | None) -> None:
    """Raises the first rank's fault as an InputError on all ranks, with the rank's name."""
    for place, text in world.all_gather((world.place, None if fault is None else str(fault))):
        if text is not None:
            raise InputError(f"{place}: {text}, then go on with --resume")
