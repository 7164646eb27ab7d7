"""What a World answers; ``-m world_worker FOLDER`` is one of two ranks. For tests."""

import io
import json
import math
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn

from distributed.world import ProcessGroupWorld
from lisa.errors import InputError
from lisa.world import World


def answers(world: World) -> dict[str, Any]:
    """The answers to every question, which all ranks must ask in the same order."""
    last = world.rank == world.world_size - 1

    def fail_on_the_last() -> None:
        if last:
            raise InputError("the last rank's disk is full")

    tensor = torch.tensor([world.rank + 1.0, 10.0])
    found: dict[str, Any] = {
        "rank": world.rank,
        "world_size": world.world_size,
        "is_main": world.is_main,
        "place": world.place,
        "same_tensor": world.all_sum(tensor) is tensor,
        "all_sum": tensor.tolist(),
        "all_max": world.all_max(world.rank),
        "any": [world.any(last), world.any(False), world.any(True)],
        "all_gather": world.all_gather({"of": world.rank}),
        "value": world.fail_together(lambda: f"value {world.rank}"),
    }
    try:
        world.fail_together(fail_on_the_last)
    except InputError as error:
        found["fault"] = str(error)
    found |= _patience(world)
    world.barrier()
    return found | _learned(world) | _watched(world)


def _patience(world: World) -> dict[str, Any]:
    """What the ranks get of an action that takes the last one long, and how often they asked meanwhile."""
    asked: list[int] = []
    all_max = world.all_max

    def counted(value: int) -> int:
        asked.append(value)
        return all_max(value)

    def work() -> str:
        time.sleep(0.4 * (world.rank == world.world_size - 1))
        return f"value {world.rank}"

    def decode() -> int:
        work()
        return world.rank

    def fail() -> None:
        work()
        if world.is_main:
            raise InputError("rank 0's disk is full")

    with patch.object(world, "all_max", counted), patch("distributed.world.TELL_SECONDS", 0.05):
        found: dict[str, Any] = {"patient": world.fail_together_patiently(work), "asked": len(asked)}
        found["gathered"] = world.gather_patiently(decode)
        try:
            world.fail_together_patiently(fail)
        except InputError as error:
            found["patient_fault"] = str(error)
    return found


def _learned(world: World) -> dict[str, Any]:
    """Gradients of (rank + 1) * weight, and the mean of rank as BatchNorm saw it."""
    network = nn.Linear(1, 1, bias=False)
    wrapped = world.wrap(network, 16)
    picture = torch.tensor([[world.rank + 1.0]])

    def gradient() -> float:
        network.zero_grad()
        wrapped(picture).sum().backward()
        assert network.weight.grad is not None
        return network.weight.grad.item()

    with world.accumulating(wrapped):
        own = gradient()
    norm = nn.BatchNorm1d(1)
    assert norm.running_mean is not None
    norm.running_mean.fill_(world.rank)
    world.average_buffers(norm)
    return {
        "own_gradient": own,
        "gradient": gradient(),
        "running_mean": norm.running_mean.item(),
    }


class Timer:
    """faulthandler's, on a clock that is set by hand: it dumps once so many seconds pass undisturbed."""

    def __init__(self) -> None:
        self._left, self._log = math.inf, io.StringIO()

    def dump_traceback_later(self, seconds: float, file: io.StringIO) -> None:
        self._left, self._log = seconds, file

    def cancel_dump_traceback_later(self) -> None:
        self._left = math.inf

    def wait(self, seconds: float) -> None:
        self._left -= seconds
        if self._left <= 0:
            self._log.write("stacks")
            self._left = math.inf


def _watched(world: World) -> dict[str, Any]:
    """What is in the log after one beat in each patience, and after the watch has ended."""
    timer, log = Timer(), io.StringIO()
    with patch("distributed.world.faulthandler", timer):
        world.watch(log)
        for _ in range(3):
            timer.wait(0.6 * world.patience)
            world.beat()
        beaten = log.getvalue()
        world.watch(None)
        world.beat()
        timer.wait(2 * world.patience)
        ended = log.getvalue()
        world.watch(log)
        timer.wait(2 * world.patience)
        world.watch(None)
    return {"beaten": beaten, "ended": ended, "silent": log.getvalue()}


def main() -> None:
    dist.init_process_group("gloo")
    rank, control = dist.get_rank(), dist.new_group(backend="gloo")
    world = ProcessGroupWorld(rank=rank, world_size=dist.get_world_size(), control=control)
    Path(sys.argv[1], f"{rank}.json").write_text(json.dumps(answers(world)))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
