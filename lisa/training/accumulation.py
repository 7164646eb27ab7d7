"""Gradient accumulation that equals the large batch, whatever the loss (BatchNorm aside).

Dice and Lovasz are of a whole batch, and a cross entropy divides by the pixels that count in it: the parts'
own losses, added up, would be another loss. So the logits of all parts come first, without gradient; the loss
of them together says how each of them is to change; a second forward pass, part by part, carries that into
the weights (gradient caching: Gao et al., https://arxiv.org/abs/2101.06983). It costs one forward pass more,
and saves the network's memory, not the loss's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lisa.training.buffers import read_buffers, write_buffers


def cached_gradients(
    network: nn.Module,
    forward: Callable[[Tensor], Tensor],
    parts: Sequence[Tensor],
    loss: Callable[[Tensor], Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """The loss of all parts' logits together, and for each part its gradient with regard to its logits.

    ``forward`` runs ``network`` on a part, (b,3,H,W) to logits (b,C,H,W); ``loss`` takes those of all parts,
    (B,C,H,W), and gives a scalar. A gradient has its part's logits' shape.

    Random numbers and statistics (BatchNorm's) are put back, so that the next forward pass over the parts
    gives these logits again.
    """
    statistics = read_buffers(network)
    device = parts[0].device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        found = [forward(part) for part in parts]
    write_buffers(network, statistics)
    logits = torch.cat(found).requires_grad_()
    del found  # the loss needs the memory
    total = loss(logits)
    (gradient,) = torch.autograd.grad(total, logits)
    return total.detach(), list(gradient.split([len(part) for part in parts]))
