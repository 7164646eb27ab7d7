"""The contract that every network of the registry keeps: count, shape, backward pass, script parity."""

import copy

import pytest
import timm
import torch

from lisa.config import ModelConfig
from lisa.models import NETWORKS, build, count_parameters

REPORT_COUNTS = {"lisa": 1_999_551, "unet": 1_999_011, "segnext": 1_992_819}
COUNTS = {"lisa": 1_999_551, "lisa_fold4": 1_981_392, "unet": 1_996_741, "segnext": 1_999_543}

networks = pytest.mark.parametrize("name", NETWORKS)


def built(name: str) -> torch.nn.Module:
    return build(ModelConfig(name=name))


@networks
def test_count_is_the_reports_to_half_a_percent(name: str):
    count = count_parameters(built(name))
    assert count == COUNTS[name] < 2_000_000
    assert abs(count / REPORT_COUNTS.get(name, count) - 1) < 0.005


@networks
@pytest.mark.parametrize("height_width", [(32, 64), (37, 51), (1, 1), (33, 16)])
def test_any_size_comes_back(name: str, height_width: tuple[int, int]):
    with torch.no_grad():
        logits = built(name).eval()(torch.rand(2, 3, *height_width))
    assert logits.shape == (2, 19, *height_width)
    assert logits.isfinite().all()


@networks
def test_every_parameter_learns(name: str):
    network = built(name).train()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


@networks
def test_a_few_steps_lower_the_loss(name: str):
    network = built(name).train()
    picture = torch.rand(2, 3, 64, 64)
    truth = (picture.mean(1) > 0.5).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses: list[float] = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(network(picture), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@networks
def test_script_agrees_and_results_repeat(name: str):
    network = built(name).eval()
    scripted = torch.jit.script(copy.deepcopy(network))
    for size in ((48, 40), (64, 32)):
        picture = torch.rand(1, 3, *size)
        with torch.no_grad():
            logits = network(picture)
            assert torch.equal(network(picture), logits)
            assert torch.allclose(scripted(picture), logits, atol=1e-5)


@networks
def test_timm_builds_it_with_any_number_of_classes(name: str):
    network = timm.create_model(name, num_classes=7).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 32)).shape == (1, 7, 32, 32)
