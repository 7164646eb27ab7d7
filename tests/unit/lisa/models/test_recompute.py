"""Activation checkpointing changes memory and nothing else."""

import pytest
import torch
from torch import Tensor, nn

from lisa.config import ModelConfig
from lisa.models import NETWORKS, build
from lisa.models.recompute import recompute_blocks, statistics_kept


def after_a_step(name: str, recompute: bool) -> tuple[dict[str, Tensor], int]:
    """Gradients and buffers after forward and backward, and the bytes that autograd kept between them."""
    torch.manual_seed(0)
    network = build(ModelConfig(name=name)).train()
    if recompute:
        recompute_blocks(network)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.randn(2, 3, 32, 32)).square().mean()
    loss.backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    buffers = {key: buffer.clone() for key, buffer in network.named_buffers()}
    return {**gradients, **buffers, "loss": loss.detach()}, sum(kept.values())  # pyright: ignore


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_statistics_are_the_same_from_less_memory(name: str):
    plain, plain_bytes = after_a_step(name, recompute=False)
    recomputed, recomputed_bytes = after_a_step(name, recompute=True)
    assert plain.keys() == recomputed.keys()
    for key, tensor in plain.items():
        assert torch.equal(tensor, recomputed[key]), key
    assert recomputed_bytes < 0.7 * plain_bytes


def test_synchronised_statistics_are_kept_too():
    """SyncBatchNorm, which several GPUs take for small shares, refuses to run without its counter."""
    norm = nn.SyncBatchNorm(3)
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with statistics_kept(nn.Sequential(norm)):
        norm(torch.randn(2, 3, 4, 4))
    for name, buffer in norm.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_evaluation_is_untouched():
    network = build(ModelConfig()).eval()
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = network(picture)
        recompute_blocks(network)
        assert torch.equal(network(picture), expected)
