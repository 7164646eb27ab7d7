"""From picture to label map: sizes, and the frugal argmax."""

import pytest
import torch
import torch.nn.functional as F

from deploy.predictor.onnx_files import labels_of
from lisa.face_parser import FaceParser, argmax_at
from lisa.models import LISA


@pytest.mark.parametrize("height_width", [(1, 1), (37, 501), (64, 64), (100, 20)])
def test_labels_come_at_the_pictures_size(height_width: tuple[int, int]):
    parser = FaceParser(LISA(), 64).eval()
    labels = parser(torch.randint(0, 256, (2, 3, *height_width), dtype=torch.uint8))
    assert labels.shape == (2, *height_width)
    assert labels.dtype == torch.uint8
    assert labels.max() < 19


def test_argmax_class_by_class_is_argmax():
    logits = torch.randn(2, 19, 16, 16)
    whole = F.interpolate(logits, size=(50, 33), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(argmax_at(logits, 50, 33), whole.to(torch.uint8))
    assert torch.equal(argmax_at(logits, 16, 16), logits.argmax(1).to(torch.uint8))


def test_argmax_takes_the_first_of_equals():
    assert argmax_at(torch.zeros(1, 19, 4, 4), 8, 8).max() == 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_first_of_equal_logits_is_the_label(layout: torch.memory_format):
    """As argmax has it, in the file too: bf16's logits are often equal."""
    logits = torch.randint(0, 3, (2, 19, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    logits = logits.contiguous(memory_format=layout)
    expected = logits.argmax(1).to(torch.uint8)
    assert torch.equal(argmax_at(logits, 8, 8), expected)
    assert torch.equal(labels_of(logits, 8, 8), expected)
