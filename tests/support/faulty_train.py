"""distributed.train with a fault on rank 1: ``-m faulty_train FAULT ARGUMENTS``, for tests."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from distributed.exit import finish
from distributed.train import main
from lisa.augment.augmentation import Augmentation
from lisa.data import faces, pairs
from lisa.losses import SegmentationLoss

Function = Callable[..., Any]

STALL = 60.0


def after(calls: int, fault: Function, whole: Function, once: bool) -> Function:
    """``whole``, but from so many calls on (or once then) ``fault`` changes what it returns."""
    done = 0

    def faulty(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        result = whole(*arguments)
        return fault(result) if done == calls + 1 or (done > calls and not once) else result

    return faulty


def slow(result: Any) -> Any:
    time.sleep(4.0)  # the other rank may need a second on a busy machine
    return result


def stall(result: Any) -> Any:
    time.sleep(STALL)
    return result


def bereave(result: Any) -> Any:
    """The rank computes while its decoding processes are killed."""
    for process in multiprocessing.active_children():
        os.kill(process.pid or 0, signal.SIGKILL)
    time.sleep(1.0)  # SIGCHLD comes here
    return result


def corrupting(pair: pairs.Pair) -> Any:
    """The third picture that this loader process reads turns to garbage just before."""
    if next(_read) == 2:
        pair.image.write_bytes(b"garbage")
    return pairs.decode(pair)


_read = iter(range(10**9))


def install(fault: str) -> None:
    if fault == "nan":
        spoil = after(1, lambda loss: loss * torch.nan, SegmentationLoss.forward, once=True)
        SegmentationLoss.forward = spoil
        Augmentation.forward = after(0, slow, Augmentation.forward, once=False)
    elif fault == "stall":
        Augmentation.forward = after(2, stall, Augmentation.forward, once=True)
    elif fault == "bereave":
        Augmentation.forward = after(2, bereave, Augmentation.forward, once=True)
    elif fault == "corrupt":
        faces.decode = corrupting
    else:
        raise ValueError(fault)


if __name__ == "__main__":
    chosen = sys.argv.pop(1)
    if os.environ["RANK"] == "1":
        install(chosen)
    finish(main)
