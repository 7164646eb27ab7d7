"""Activation checkpointing (Chen et al., https://arxiv.org/abs/1604.06174): memory for a second forward pass.

A block keeps only its input; the backward pass runs the block again. Gradients are the same. In a
compiled graph the backward pass computes again only what gradients need: no statistics are counted twice.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(network: nn.Module) -> None:
    """Makes each module with ``recomputable = True`` compute its activations again in the backward pass."""
    for module in network.modules():
        if getattr(module, "recomputable", False):
            module.forward = partial(_recomputed, module, module.forward)


def _recomputed(block: nn.Module, forward: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*inputs)
    if torch.compiler.is_compiling():
        return checkpoint(forward, *inputs, use_reentrant=False)
    contexts = partial(_contexts, block)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first and the second forward pass."""
    return nullcontext(), statistics_kept(block)


@contextmanager
def statistics_kept(block: nn.Module) -> Generator[None]:
    """Leaves BatchNorm's running statistics alone: the first pass has counted this batch already."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, torch.zeros((), dtype=torch.long)
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
