"""Masks as the tests write them."""

from pathlib import Path

import numpy as np
from PIL import Image

from lisa.labels import PALETTE


def save_mask(ids: np.ndarray, path: Path) -> None:
    """Writes ids as a palette PNG."""
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette(PALETTE)
    image.save(path)
