"""Pictures of any mode and depth as 8-bit RGB, by the rules that the predictor has."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.predictor.pictures import read_picture
from lisa.data.pairs import read_image
from lisa.data.pictures import eight_bits

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def rgb(scale: int = 1) -> Image.Image:
    return Image.fromarray((RAMP[..., None] * np.array([1, 0.5, 0.25]) * scale).astype(np.uint8))


CASES = {
    "grey.png": Image.fromarray(RAMP.astype(np.uint8)),
    "16-bit.png": Image.fromarray(RAMP * 257),
    "12-of-16-bit.png": Image.fromarray(RAMP * 16),
    "8-of-16-bit.png": Image.fromarray(RAMP),
    "32-bit.tif": Image.fromarray(RAMP.astype(np.int32) * 2**20),
    "negative.tif": Image.fromarray(RAMP.astype(np.int32) - 128),
    "unit.tif": Image.fromarray(RAMP.astype(np.float32) / 255),
    "signed.tif": Image.fromarray(RAMP.astype(np.float32) / 127.5 - 1),
    "cmyk.jpg": rgb().convert("CMYK"),
    "palette.png": rgb().quantize(16),
    "alpha.png": rgb().convert("RGBA"),
    "1-bit.png": Image.fromarray(RAMP.astype(np.uint8)).convert("1"),
}


@pytest.mark.parametrize("name", CASES)
def test_training_and_prediction_see_the_same(name: str, tmp_path: Path):
    CASES[name].save(tmp_path / name)
    assert np.array_equal(np.asarray(read_image(tmp_path / name)), read_picture(tmp_path / name))


DEEP = ("16-bit.png", "12-of-16-bit.png", "8-of-16-bit.png", "32-bit.tif", "unit.tif")


@pytest.mark.parametrize("name", DEEP)
def test_deep_grey_is_the_grey_picture(name: str, tmp_path: Path):
    CASES[name].save(tmp_path / name)
    assert np.abs(np.asarray(read_image(tmp_path / name))[..., 0].astype(int) - RAMP).max() <= 1


def test_no_number_is_no_picture():
    with pytest.raises(ValueError, match="none of its samples"):
        eight_bits(np.full((2, 2), np.nan, np.float32))
    assert eight_bits(np.array([[np.nan, np.inf, 0, 1]])).tolist() == [[0, 255, 0, 255]]
