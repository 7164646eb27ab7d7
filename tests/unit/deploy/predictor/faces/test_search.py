"""What the search sees of a photo that is larger than what goes through its network at once."""

import pytest
import torch
import torch.nn.functional as F

from deploy.predictor.faces.search import TILE, TILE_BORDER, tiled_logits


@pytest.mark.parametrize("shape", [(TILE, TILE), (192, 192), (200, 131), (320, 576)])
def test_tiles_give_what_the_whole_picture_gives(shape: tuple[int, int]):
    """Of a network that sees as far as their borders reach: the picture's own are the same in both."""
    weight = torch.rand(2, 3, 3, 3)

    def network(pictures: torch.Tensor) -> torch.Tensor:
        return F.conv2d(pictures, weight, padding=TILE_BORDER, dilation=TILE_BORDER)

    picture = torch.rand(1, 3, *shape)
    torch.testing.assert_close(tiled_logits(picture, network), network(picture))
