"""The network and all terms of the loss are one graph, and compiled they are what they are eager."""

import shutil

import pytest
import torch
from torch import Tensor, nn

from lisa.config import LossConfig
from lisa.losses import SegmentationLoss
from lisa.models.lisa import LISA

CLASSES = 4
"""Lovasz's loop over the classes is unrolled, and what is compiled grows with them."""


class _Step(nn.Module):
    """Pictures and masks to a loss of every term."""

    def __init__(self) -> None:
        super().__init__()
        self.network = LISA(CLASSES, widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1))
        self.loss = SegmentationLoss(LossConfig(lovasz=1))

    def forward(self, pictures: Tensor, masks: Tensor) -> Tensor:
        return self.loss(self.network(pictures), masks)


@pytest.mark.slow
@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler"),
            ],
        ),
    ],
)
def test_network_and_loss_compile_as_one_graph(backend: str):
    """Loss and gradients to 1e-5 of the eager ones, which run on this CPU's fast paths."""
    step = _Step().train()
    pictures, masks = torch.randn(2, 3, 32, 32), torch.randint(0, CLASSES, (2, 32, 32), dtype=torch.uint8)
    masks[0, :4] = 255
    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for run in (step, torch.compile(step, fullgraph=True, backend=backend)):
        step.zero_grad()
        loss = run(pictures, masks)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in step.parameters() if p.grad is not None]))
    assert torch.allclose(losses[0], losses[1], rtol=1e-5)
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[0].norm()
