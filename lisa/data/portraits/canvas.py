"""A picture and its mask painted together: soft edges in one, hard ids in the other, from the same polygons.

Coordinates are in units of the frame: x to the right and y down, both 0..1. Nothing here draws random
numbers that depend on the size, so that a face keeps its geometry at every resolution.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from lisa.labels import IDS

Array = NDArray[np.floating[Any]]
Points = NDArray[np.float64]

Kind = TypeVar("Kind")

SUPERSAMPLING = 3


@dataclass(frozen=True)
class Patch:
    """How much of each pixel a shape covers, within the rows and columns that it touches."""

    rows: slice
    cols: slice
    alpha: Array


class Canvas:
    """A square picture, float32 (size, size, 3) in 0..1, with its mask, uint8 (size, size)."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.picture: Array = np.zeros((size, size, 3), np.float32)
        self.mask: NDArray[np.uint8] = np.zeros((size, size), np.uint8)
        centres = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x: Array = np.broadcast_to(centres[None, :], (size, size))
        self.y: Array = np.broadcast_to(centres[:, None], (size, size))

    def cover(self, *polygons: Points) -> Patch:
        """The union of polygons, each (N, 2), antialiased; parts outside of the frame are cut."""
        corners = np.concatenate(polygons) * self.size
        (low_x, low_y), (high_x, high_y) = corners.min(0).tolist(), corners.max(0).tolist()
        cols, rows = _pixels(low_x, high_x, self.size), _pixels(low_y, high_y, self.size)
        left, right, top, bottom = cols.start, cols.stop, rows.start, rows.stop
        stencil = Image.new("L", ((right - left) * SUPERSAMPLING, (bottom - top) * SUPERSAMPLING))
        draw = ImageDraw.Draw(stencil)
        for polygon in polygons:
            # PIL fills the pixels whose centres are at whole coordinates.
            scaled = (polygon * self.size - (left, top)) * SUPERSAMPLING - 0.5
            draw.polygon(scaled.ravel().tolist(), fill=255)
        alpha = np.asarray(stencil.reduce(SUPERSAMPLING), np.float32) / 255
        return Patch(rows, cols, alpha)

    def paint(self, patch: Patch, color: ArrayLike, label: str | None = None, opacity: float = 1.0) -> None:
        """Blend a colour (3,) or a full-frame texture (size, size, 3) in; ``label`` also claims the mask."""
        paint = np.asarray(color, np.float32)
        if paint.ndim == 3:
            paint = paint[patch.rows, patch.cols]
        region = self.picture[patch.rows, patch.cols]
        region += (paint - region) * (patch.alpha * opacity)[..., None]
        if label is not None:
            self.claim(patch, label)

    def claim(self, patch: Patch, label: str, spare: Sequence[str] = ()) -> None:
        """Set the mask where the shape covers at least half a pixel, except on the labels to ``spare``."""
        region = self.mask[patch.rows, patch.cols]
        inside = patch.alpha >= 0.5
        if spare:
            inside &= ~np.isin(region, [IDS[name] for name in spare])
        region[inside] = IDS[label]

    def lit(self, patch: Patch, factor: ArrayLike) -> None:
        """Multiply the picture under a shape by a factor (3,) or by a full-frame field (size, size)."""
        field = np.asarray(factor, np.float32)
        if field.ndim == 2:
            field = field[patch.rows, patch.cols, None]
        region = self.picture[patch.rows, patch.cols]
        region *= 1 + (field - 1) * patch.alpha[..., None]

    def blob(self, center: ArrayLike, radii: tuple[float, float]) -> Patch:
        """A Gaussian spot, 1 at its centre; ``radii`` are standard deviations."""
        x, y = (float(value) for value in np.asarray(center))
        reach_x, reach_y = 3 * radii[0], 3 * radii[1]
        cols = _pixels((x - reach_x) * self.size, (x + reach_x) * self.size, self.size)
        rows = _pixels((y - reach_y) * self.size, (y + reach_y) * self.size, self.size)
        across = np.exp(-0.5 * ((self.x[0, cols] - x) / radii[0]) ** 2)
        down = np.exp(-0.5 * ((self.y[rows, 0] - y) / radii[1]) ** 2)
        return Patch(rows, cols, down[:, None] * across[None, :])


def _pixels(low: float, high: float, size: int) -> slice:
    """The pixels that an interval touches, at least one; what lies outside of the frame is cut."""
    start = min(max(math.floor(low), 0), size - 1)
    return slice(start, max(start + 1, min(math.ceil(high), size)))


def one_of(chances: Mapping[Kind, float], rng: np.random.Generator) -> Kind:
    """One of the kinds, as often as ``chances``, of any sum, say."""
    weights = np.array(list(chances.values()))
    return list(chances)[rng.choice(len(weights), p=weights / weights.sum())]


def noise(rng: np.random.Generator, size: int, cells: tuple[int, int], channels: int = 1) -> Array:
    """Smooth noise in -1..1, (size, size) or (size, size, channels), with ``cells`` (down, across)."""
    coarse = rng.uniform(-1, 1, (*cells, channels)).astype(np.float32)
    planes = [
        np.asarray(Image.fromarray(coarse[..., c]).resize((size, size), Image.Resampling.BICUBIC))
        for c in range(channels)
    ]
    return planes[0] if channels == 1 else np.stack(planes, axis=-1)


def fractal(rng: np.random.Generator, size: int, cells: int, persistence: float, octaves: int = 4) -> Array:
    """Noise of several scales, each twice as fine and ``persistence`` as strong: (size, size) in -1..1."""
    strengths = persistence ** np.arange(octaves)
    layers = (noise(rng, size, (cells << octave, cells << octave)) for octave in range(octaves))
    total = sum(layer * np.float32(strength) for layer, strength in zip(layers, strengths, strict=True))
    return np.asarray(total / np.float32(strengths.sum()), np.float32)


def smooth(points: ArrayLike, closed: bool = True, steps: int = 6) -> Points:
    """A Catmull-Rom spline through points (N, 2): ``steps`` points for each stretch."""
    knots = np.asarray(points, np.float64)
    count = len(knots) if closed else len(knots) - 1
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (padded[i : i + count][:, None, :] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    flat = curve.reshape(-1, knots.shape[1])
    return flat if closed else np.concatenate([flat, knots[-1:]])


def stroke(points: ArrayLike, width: float | ArrayLike) -> Points:
    """The outline of a line drawn through points (N, 2) with a brush of ``width`` (one, or N)."""
    line = np.asarray(points, np.float64)
    along = np.empty_like(line)
    along[0], along[-1] = line[1] - line[0], line[-1] - line[-2]
    along[1:-1] = (line[2:] - line[:-2]) / 2
    length = np.maximum(np.sqrt((along * along).sum(1, keepdims=True)), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / length
    half = np.broadcast_to(np.asarray(width, np.float64) / 2, len(line))[:, None]
    return np.concatenate([line + normal * half, (line - normal * half)[::-1]])


def within(outer: Patch, inner: Patch) -> Patch:
    """The part of ``inner`` that lies inside of ``outer``."""
    top, bottom = max(outer.rows.start, inner.rows.start), min(outer.rows.stop, inner.rows.stop)
    left, right = max(outer.cols.start, inner.cols.start), min(outer.cols.stop, inner.cols.stop)
    bottom, right = max(bottom, top), max(right, left)

    def cut(patch: Patch) -> Array:
        r, c = patch.rows.start, patch.cols.start
        return patch.alpha[top - r : bottom - r, left - c : right - c]

    return Patch(slice(top, bottom), slice(left, right), cut(outer) * cut(inner))


def moved(points: ArrayLike, right: float, down: float) -> Points:
    """Points (N, 2) or (2,), shifted."""
    return np.asarray(points, np.float64) + np.array((right, down))


def ellipse(center: ArrayLike, radii: tuple[float, float], points: int = 28) -> Points:
    """An ellipse as a polygon (points, 2)."""
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.asarray(center, np.float64) + np.stack([np.cos(angle), np.sin(angle)], 1) * radii
