"""Splits of drawn masks: written, checked, refused."""

from pathlib import Path

import numpy as np
import pytest
from encoding_helpers import encoding
from PIL import Image

from lisa.data.checking import Checked, check_pairs
from lisa.data.pairs import Pair
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.labels import PALETTE

SIDE = 96
COLORS = np.array(PALETTE, np.int64).reshape(-1, 3)
Ids = np.ndarray


def drawn_masks() -> list[Ids]:
    return [draw_face(seed, SIDE)[1] for seed in range(24)]


def write(folder: Path, masks: list[Ids] | list[Image.Image]) -> list[Pair]:
    pairs: list[Pair] = []
    for number, mask in enumerate(masks):
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        pair = Pair(folder / f"{number}.jpg", folder / f"{number}.png")
        image.save(pair.mask)
        Image.new("RGB", image.size, (number, 0, 0)).save(pair.image)
        pairs.append(pair)
    return pairs


def check(folder: Path, masks: list[Ids] | list[Image.Image], text: str = "") -> Checked:
    pairs = [pair._replace(encoding=encoding(text)) for pair in write(folder, masks)]
    return check_pairs(pairs)


def refusal(folder: Path, masks: list[Ids] | list[Image.Image]) -> str:
    with pytest.raises(InputError) as caught:
        check(folder, masks)
    return str(caught.value)
