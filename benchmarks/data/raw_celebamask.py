"""Generated data in the layout of the raw CelebAMask-HQ release, for benchmarks and tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from lisa.data.synthetic import draw_face
from lisa.labels import IDS, NAMES

PICTURES = "CelebA-HQ-img"
PARTS = "CelebAMask-HQ-mask-anno"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
MASK_SIZE = 512
FIRST_IN_SPLIT = (0, 162771, 182638)
"""Lowest CelebA index in train, val and test."""


def write_raw_face(source: Path, index: int, drawn: int = 256, picture_size: int = 1024) -> None:
    """One JPEG and a black and white RGB PNG for each part, drawn at ``drawn`` pixels and enlarged."""
    picture, mask = draw_face(index, drawn)
    large = Image.fromarray(picture).resize((picture_size, picture_size), Image.Resampling.BICUBIC)
    ids = np.asarray(Image.fromarray(mask).resize((MASK_SIZE, MASK_SIZE), Image.Resampling.NEAREST))
    folder = source / PARTS / str(index // 2000)
    folder.mkdir(parents=True, exist_ok=True)
    (source / PICTURES).mkdir(exist_ok=True)
    large.save(source / PICTURES / f"{index}.jpg", quality=95)
    for name in NAMES[1:]:
        part = ids == IDS[name]
        if part.any():
            grey = Image.fromarray(part.astype(np.uint8) * 255)
            grey.convert("RGB").save(folder / f"{index:05d}_{name}.png")


def write_mapping(source: Path, indices: list[int]) -> None:
    """The table from CelebA-HQ's indices to CelebA's: most faces in train, some in val and test."""
    rows = ["idx    orig_idx    orig_file"]
    for index in indices:
        original = FIRST_IN_SPLIT[{8: 1, 9: 2}.get(index % 10, 0)] + index
        rows.append(f"{index}    {original}    {original + 1:06d}.jpg")
    (source / MAPPING).write_text("\n".join(rows) + "\n")


def write_raw(source: Path, count: int, drawn: int = 256) -> None:
    """``count`` faces in the layout of the release."""
    for index in range(count):
        write_raw_face(source, index, drawn)
    write_mapping(source, list(range(count)))
