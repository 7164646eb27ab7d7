"""Flip averaging: equivariance under mirroring, which is what the channel swap is for."""

import torch
from torch import nn

from lisa.evaluation.wrappers import FlipAveraged
from lisa.labels.celebamask import CELEBAMASK


def test_a_mirrored_picture_gives_the_mirrored_swapped_logits():
    network = FlipAveraged(nn.Conv2d(3, 19, 3, padding=1), CELEBAMASK)
    picture = torch.rand(2, 3, 6, 9)
    logits, mirrored = network(picture), network(picture.flip(-1))
    assert torch.allclose(mirrored, logits.flip(-1)[:, list(CELEBAMASK.flipped_ids)], atol=1e-6)


def test_logits_are_the_mean_of_both_views():
    class Columns(nn.Module):
        """Channel c at column x: c + 100 x, whatever the picture."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            channel, column = torch.arange(19.0).view(1, 19, 1, 1), torch.arange(x.shape[-1])
            return (channel + 100 * column).expand(len(x), 19, *x.shape[-2:])

    logits = FlipAveraged(Columns(), CELEBAMASK)(torch.rand(1, 3, 2, 3))
    assert logits[0, 1, 0].tolist() == [101, 101, 101]
    assert logits[0, 4, 0].tolist() == [104.5, 104.5, 104.5]  # half l_eye, half r_eye
