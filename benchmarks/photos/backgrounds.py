"""What lies behind the faces of a scene, and what a photo without a face shows: nothing here is a face."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Random = np.random.Generator
Array = NDArray[np.uint8]

BEHIND = ("smooth", "texture", "blurred", "mosaic", "mosaic", "mixed")
"""Behind faces, as often as they stand here."""

WITHOUT = (*BEHIND, "print", "foliage", "fabric", "grid")
"""In photos without a face."""

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "0123456789", "pages")


def background(
    kind: str, width: int, height: int, rng: Random, patches: Sequence[Image.Image]
) -> Image.Image:
    """A picture of this kind. ``patches`` are pieces of photographs without a part of a face."""
    if kind == "mixed":
        one, other = (background(each, width, height, rng, patches) for each in ("mosaic", "texture"))
        return Image.blend(one, other, 0.35)
    if kind in ("blurred", "mosaic"):
        return {"blurred": _blurred, "mosaic": _mosaic}[kind](width, height, rng, patches)
    makers = {
        "smooth": _smooth,
        "texture": _texture,
        "print": _print,
        "foliage": _foliage,
        "fabric": _fabric,
        "grid": _grid,
    }
    return makers[kind](width, height, rng)


def _noise(columns: int, rows: int, rng: Random) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (rows, columns, 3), dtype=np.uint8))


def _smooth(width: int, height: int, rng: Random) -> Image.Image:
    columns, rows = rng.integers(2, 7, 2).tolist()
    return _noise(columns, rows, rng).resize((width, height), Image.Resampling.BICUBIC)


def _stretched(values: NDArray[np.float64]) -> Image.Image:
    values = values - values.min()
    return Image.fromarray((values / values.max() * 255).astype(np.uint8))


def _waves(width: int, height: int, rng: Random) -> NDArray[np.float64]:
    """(H,W,1): stripes of one direction."""
    y, x = np.mgrid[:height, :width]
    turn, period = rng.uniform(0, math.pi), rng.uniform(6, 60)
    return np.sin((x * math.cos(turn) + y * math.sin(turn)) * 2 * math.pi / period)[..., None]


def _texture(width: int, height: int, rng: Random) -> Image.Image:
    values = _waves(width, height, rng) * rng.uniform(20, 120)
    for cells in (4, 9, 20, 45, 100, 220):
        layer = _noise(cells, max(1, cells * height // width), rng)
        layer = layer.resize((width, height), Image.Resampling.BICUBIC)
        values = values + np.asarray(layer, float) / cells**0.4
    return _stretched(values)


def _blurred(width: int, height: int, rng: Random, patches: Sequence[Image.Image]) -> Image.Image:
    patch = patches[int(rng.integers(len(patches)))].resize((width, height), Image.Resampling.BICUBIC)
    return patch.filter(ImageFilter.GaussianBlur(max(width, height) / rng.uniform(25, 60)))


def _mosaic(width: int, height: int, rng: Random, patches: Sequence[Image.Image]) -> Image.Image:
    whole = _smooth(width, height, rng)
    for _ in range(rng.integers(8, 31)):
        side = int(min(width, height) * rng.uniform(0.12, 0.6))
        patch = patches[int(rng.integers(len(patches)))]
        patch = patch.resize((side, max(1, int(side * rng.uniform(0.6, 1.6)))), Image.Resampling.BICUBIC)
        if rng.random() < 0.4:
            patch = patch.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        turn = rng.uniform(-60, 60) if rng.random() < 0.5 else 0.0
        mask = Image.new("L", patch.size, 255).rotate(turn)
        place = (int(rng.integers(-side // 2, width)), int(rng.integers(-side // 2, height)))
        whole.paste(patch.rotate(turn), place, mask)
    return whole


def _print(width: int, height: int, rng: Random) -> Image.Image:
    page = Image.new("RGB", (width, height), tuple(rng.integers(200, 256, 3).tolist()))
    draw, size = ImageDraw.Draw(page), int(rng.integers(8, 40))
    ink = tuple(rng.integers(0, 90, 3).tolist())
    for top in range(0, height, round(size * 1.5)):
        line = " ".join(WORDS[index] for index in rng.integers(0, len(WORDS), 1 + 3 * width // size))
        draw.text((int(rng.integers(4, 30)), top), line, fill=ink, font_size=size)
    return page


def _foliage(width: int, height: int, rng: Random) -> Image.Image:
    whole = _smooth(width, height, rng)
    draw = ImageDraw.Draw(whole)
    for _ in range(1500):
        x, y, a, b = *rng.uniform(0, (width, height)), *rng.uniform(2, 22, 2)
        green = (rng.uniform(0, 90), rng.uniform(60, 220), rng.uniform(0, 80))
        draw.ellipse([x - a, y - b, x + a, y + b], fill=tuple(int(value) for value in green))
    return whole


def _fabric(width: int, height: int, rng: Random) -> Image.Image:
    values = _waves(width, height, rng) * rng.uniform(20, 90, 3) + _waves(width, height, rng) * 60
    return _stretched(values + rng.normal(0, 12, (height, width, 1)))


def _grid(width: int, height: int, rng: Random) -> Image.Image:
    whole = Image.new("RGB", (width, height), tuple(rng.integers(0, 256, 3).tolist()))
    draw, step = ImageDraw.Draw(whole), int(rng.integers(8, 60))
    color = tuple(rng.integers(0, 256, 3).tolist())
    for place in range(0, max(width, height), step):
        draw.line([place, 0, place, height], fill=color, width=max(1, step // 6))
        draw.line([0, place, width, place], fill=color, width=max(1, step // 6))
    return whole
