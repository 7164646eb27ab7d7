"""Muon: directions, equality with timm's, steps not taken, resuming."""

import copy

import pytest
import torch
from timm.optim.muon import Muon as TimmsMuon
from torch import Tensor, nn

from lisa.config import OptimConfig, report
from lisa.errors import InputError
from lisa.models import build
from lisa.training.muon import is_matrix, orthogonal, shared_out
from lisa.training.optim import Schedule, load_moments, make_optimizer

CONFIG = OptimConfig(name="muon", lr=1e-2, weight_decay=0.1)


def small() -> nn.Sequential:
    """A layer of three colours, a norm, a depthwise convolution, a wide matrix and a 3x3 one."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, 16, 3, groups=16),
        nn.Conv2d(16, 6, 1),
        nn.Conv2d(6, 8, 3),
    )


def with_gradients(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("shape", [(64, 64), (142, 64), (32, 320)])
def test_directions_are_all_of_one_length(shape: tuple[int, int]):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix, torch.float32)
    lengths = torch.linalg.svdvals(found)
    assert lengths.min() > 0.5
    assert lengths.max() < 1.3
    assert torch.nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), dim=0) > 0.99


def test_matrices_move_as_with_timms_muon_and_the_rest_as_with_adamw():
    ours, timms, adamws = small(), small(), small()
    muon = make_optimizer(ours, CONFIG, torch.bfloat16)
    matrices = [each for each in timms.parameters() if is_matrix(each)]
    peer = TimmsMuon(matrices, lr=CONFIG.lr, weight_decay=CONFIG.weight_decay, nesterov=True)
    adamw = make_optimizer(adamws, OptimConfig(name="adamw", lr=CONFIG.lr, weight_decay=CONFIG.weight_decay))
    begun = weights(ours)
    for step in range(3):
        for network, optimizer in ((ours, muon), (timms, peer), (adamws, adamw)):
            with_gradients(network, step)
            optimizer.step()
    kinds: list[bool] = []
    for before, found, peers, adams in zip(
        begun, ours.parameters(), timms.parameters(), adamws.parameters(), strict=True
    ):
        kinds.append(is_matrix(found))
        if is_matrix(found):
            assert (found - peers).norm() < 0.02 * (found - before).norm()
        else:
            assert torch.equal(found, adams)
    assert kinds == [False, False, False, False, False, True, False, True, False]


def test_a_step_that_is_not_taken_changes_nothing():
    network = small()
    optimizer = make_optimizer(network, CONFIG)
    with_gradients(network, 0)
    optimizer.step()
    before, moments = weights(network), copy.deepcopy(optimizer.state_dict()["state"])
    with_gradients(network, 1)
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.fill_(float("nan"))
    optimizer.found_inf = torch.ones(())  # pyright: ignore
    optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))
    after = optimizer.state_dict()["state"]
    for number, state in moments.items():
        assert state.keys() == after[number].keys()
        assert all(torch.equal(state[name], after[number][name]) for name in state)


def test_a_resumed_run_takes_the_same_steps():
    network, other = small(), small()
    optimizer = make_optimizer(network, CONFIG)
    with_gradients(network, 0)
    optimizer.step()
    other.load_state_dict(network.state_dict())
    resumed = make_optimizer(other, CONFIG)
    Schedule(resumed, CONFIG, steps=10)
    load_moments(resumed, copy.deepcopy(optimizer.state_dict()), as_low=False)
    for each, its in ((network, optimizer), (other, resumed)):
        with_gradients(each, 1)
        its.step()
    assert all(map(torch.equal, network.parameters(), other.parameters()))


@pytest.mark.parametrize(("begun", "goes_on"), [("muon", "adamw"), ("adamw", "muon")])
def test_moments_of_the_other_kind_are_refused(begun: str, goes_on: str):
    network = small()
    first = make_optimizer(network, OptimConfig(name=begun))  # pyright: ignore
    with_gradients(network, 0)
    first.step()
    second = make_optimizer(network, OptimConfig(name=goes_on))  # pyright: ignore
    with pytest.raises(InputError, match=rf"go on with --optim\.name {begun}"):
        load_moments(second, first.state_dict(), as_low=False)


def test_lisas_matrices_are_most_of_its_parameters():
    network = build(report().model)
    assert sum(each.numel() for each in network.parameters() if is_matrix(each)) == 1_744_752


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_no_rank_has_much_more_to_do(ranks: int):
    costs = [5, 1, 9, 3, 3, 7]
    takes = shared_out(costs, ranks)
    loads = [
        sum(cost for cost, rank in zip(costs, takes, strict=True) if rank == each) for each in range(ranks)
    ]
    assert max(loads) <= max(max(costs), sum(costs) / ranks + min(costs))
