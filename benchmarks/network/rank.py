"""One rank of benchmarks.network: trains a step at a time as it is told on stdin, answers on stdout.

A request is a line of JSON, the same to every rank; the answer, among what else is printed, is a line with
the seconds per step or per call.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from distributed.world import ProcessGroupWorld, open_world
from lisa.config import ModelConfig
from lisa.models import build

ANSWER = "seconds "


def training_step(
    network: nn.Module, bare: nn.Module, world: ProcessGroupWorld, size: int, pictures: int
) -> Callable[[], object]:
    """lisa.training.step's step on random pictures, with every collective that it makes."""
    images = torch.rand(pictures, 3, size, size)
    masks = torch.randint(0, 19, (pictures, size, size))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step() -> None:
        answer = world.start_all_max(0)
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(images), masks).backward()
        optimizer.step()
        world.average_buffers(bare)
        answer()

    return step


def make(request: dict[str, Any], world: ProcessGroupWorld) -> Callable[[], object]:
    """What the request asks to time."""
    if request["kind"] == "flag":
        return lambda: world.any(False)
    network = build(ModelConfig())
    size, pictures = request["size"], request["pictures"]
    if request["kind"] == "alone":
        return training_step(network, network, ProcessGroupWorld(), size, pictures)
    if request["kind"] == "wrapped":
        wrapped = world.wrap(network, pictures, request["gradients"])
    else:
        options = {name: request[name] for name in ("bucket_cap_mb", "static_graph") if name in request}
        wrapped = DistributedDataParallel(
            network, broadcast_buffers=False, gradient_as_bucket_view=True, **options
        )
    return training_step(wrapped, network, world, size, pictures)


def main() -> None:
    """Answers requests until stdin ends."""
    with open_world() as world:
        actions: dict[str, Callable[[], object]] = {}
        for line in sys.stdin:
            request = json.loads(line)
            key = json.dumps(request["what"])
            if key not in actions:
                actions[key] = make(request["what"], world)
                actions[key]()
                actions[key]()  # static_graph and the rebuilt buckets begin with the second step
            world.barrier()
            start = time.perf_counter()
            for _ in range(request["steps"]):
                actions[key]()
            print(f"{ANSWER}{(time.perf_counter() - start) / request['steps']}", flush=True)


if __name__ == "__main__":
    main()
