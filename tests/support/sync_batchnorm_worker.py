"""One of two ranks with its share of a batch: ``-m sync_batchnorm_worker FOLDER``."""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from sync_helpers import HostSyncs
from torch import Tensor, nn

from distributed.sync_batchnorm import synchronise_batchnorm

SHARES = (5, 3)


def batch() -> tuple[nn.Sequential, Tensor, Tensor]:
    """A BatchNorm off its start, eight pictures far from mean 0, and what comes back to the norm."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    return network, 5 + torch.randn(8, 3, 4, 6).double(), torch.randn(8, 3, 4, 6).double()


def passes(network: nn.Module, compiled: bool, images: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """Output, gradients and statistics of a step."""
    leaf = images.clone().requires_grad_()
    run = torch.compile(network, backend="aot_eager", fullgraph=True) if compiled else network
    output = run(leaf)
    output.backward(upstream)
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert leaf.grad is not None
    return {"output": output.detach(), "input": leaf.grad, **gradients, **dict(network.named_buffers())}


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found: list[dict[str, Tensor]] = []
    for compiled in (False, True):
        network, images, upstream = batch()
        own = [each.split(SHARES)[rank] for each in (images, upstream)]
        with nullcontext() if compiled else HostSyncs() as syncs:
            found.append(passes(synchronise_batchnorm(network), compiled, *own))
        assert syncs is None or syncs.found == []
    torch.save(found, Path(sys.argv[1], f"{rank}.pt"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
