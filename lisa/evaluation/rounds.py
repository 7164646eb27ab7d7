"""Ranks that go side by side, round by round, so that none waits for another one's whole share."""

from collections.abc import Callable

from lisa.errors import InputError, StopAskedError
from lisa.world import World


def in_rounds(action: Callable[[], None], rounds: int, world: World) -> None:
    """Every rank's ``action``, as often on each; raises on all ranks what was raised on one.

    The ranks tell one another of a stop, or of a fault, while the next round goes on.
    """
    fault: InputError | None = None
    answer = world.start_all_max(0)
    for _ in range(rounds):
        if answer():
            break
        answer = world.start_all_max(int(world.stop_asked or fault is not None))
        try:
            if fault is None:
                action()
        except StopAskedError:
            continue  # the next round tells of it
        except InputError as error:
            fault = error
        world.beat()
    else:
        answer()
    world.fail_together(lambda: _raise(fault))
    if world.any(world.stop_asked):
        raise StopAskedError


def _raise(fault: InputError | None) -> None:
    if fault is not None:
        raise fault
