"""LISA rescaled: the same network, with its products within a bound."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lisa.models import LISA
from lisa.models.lisa import EncoderBlock
from lisa.models.rescale import rescale

WIDTHS = (4, 6, 8, 12, 16)


def grown(**options: Any) -> LISA:
    """A network whose attentions have grown far beyond any narrow bound, with statistics to fit."""
    torch.manual_seed(0)
    network = LISA(5, widths=WIDTHS, depths=(1, 2, 2, 3, 1), **options)
    for module in network.modules():
        if isinstance(module, EncoderBlock):
            module.msca.mix.weight.data.mul_(torch.rand(len(module.msca.mix.weight), 1, 1, 1) * 400)
            module.unit.pointwise_norm.weight.data.uniform_(1, 9)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_()
    network.train()
    for _ in range(60):
        network(pictures(4))
    return network.eval()


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64)


def factors(network: LISA, x: Tensor) -> float:
    """The largest factor of any product."""
    found: list[float] = []
    for module in network.modules():
        if isinstance(module, EncoderBlock):
            module.msca.register_forward_pre_hook(
                lambda _, inputs: found.append(float(inputs[0].abs().max()))
            )
            module.msca.mix.register_forward_hook(lambda _, __, out: found.append(float(out.abs().max())))
    with torch.inference_mode():
        network(x)
    return max(found)


VARIANTS = [{}, {"hamburger": "nmf"}, {"fold": 4}, {"activation": "gelu"}, {"activation": "relu"}]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_the_network_is_the_same_and_its_products_are_within(options: dict[str, Any]):
    network, x = grown(**options), pictures(32)
    assert factors(network, x) > 100
    with torch.inference_mode():
        before = network(x)
    rescale(network, [x[:16], x[16:]], 4.0)
    with torch.inference_mode():
        after = network(x)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
    assert 2 < factors(network, x) <= 5  # what is bounded is 1 + attention
    within = LISA(5, widths=WIDTHS, depths=(1, 2, 2, 3, 1), bound=8.0, **options).eval()
    within.load_state_dict(network.state_dict())
    unseen = pictures(2)
    with torch.inference_mode():
        same = within(unseen).argmax(1) == network(unseen).argmax(1)
    assert same.float().mean() > 0.95


def test_quiet_channels_keep_their_room():
    """They may speak on other pictures."""
    network = grown()
    norm = network.enc3[0].unit.pointwise_norm  # pyright: ignore
    norm.weight.data[0], norm.bias.data[0] = 0.01, 0.0  # pyright: ignore
    rescale(network, [pictures(2)], 4.0)
    assert float(norm.weight[0]) == pytest.approx(0.01)  # pyright: ignore
