"""Cloth: plain, striped, checked, printed, knitted, shiny, laced."""

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, fractal, noise

PLAIN = (0.04, 0.12, 0.5, 0.9, 0.97)
"""Greys that clothes often have."""


def make_fabric(canvas: Canvas, rng: np.random.Generator, color: Array | None = None) -> Array:
    """Cloth all over the frame (size, size, 3), with folds; of a random colour where none (3,) is given."""
    base = rng.uniform(0.02, 0.95, 3) if rng.random() < 0.55 else np.full(3, rng.choice(PLAIN))
    base = base if color is None else color
    other = np.clip(base + rng.normal(0, 0.35, 3), 0, 1)
    mixed = (base + (other - base) * _pattern(canvas, rng)[..., None]).astype(np.float32)
    folds = 1 + np.float32(rng.uniform(0.1, 0.35)) * noise(rng, canvas.size, (5, 9))
    folds += np.float32(rng.uniform(0.02, 0.12)) * noise(rng, canvas.size, (64, 64))
    if rng.random() < 0.15:  # satin, leather, sequins
        gloss = fractal(rng, canvas.size, int(rng.integers(6, 24)), 0.7)
        folds += np.maximum(gloss - np.float32(0.2), 0) * np.float32(rng.uniform(0.5, 3))
    return np.clip(mixed * folds[..., None], 0, 1).astype(np.float32)


def _pattern(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Where the second colour is: (size, size) in 0..1."""
    kind = rng.choice(5, p=(0.5, 0.16, 0.1, 0.14, 0.1))
    if kind == 0:
        return np.zeros((canvas.size, canvas.size), np.float32)
    if kind == 3:
        cells = int(rng.integers(10, 40))
        return np.asarray(noise(rng, canvas.size, (cells, cells)) > rng.uniform(-0.1, 0.4), np.float32)
    if kind == 4:
        return np.clip(fractal(rng, canvas.size, int(rng.integers(4, 16)), 0.8) * 3 + 0.5, 0, 1)
    turn, pitch = rng.uniform(0, np.pi), np.float32(rng.uniform(40, 170))
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    waves = np.sin((canvas.x * cos + canvas.y * sin) * pitch)
    if kind == 1:
        return np.asarray(waves > rng.uniform(-0.5, 0.7), np.float32)
    cross = np.sin((canvas.x * sin - canvas.y * cos) * pitch)
    return np.asarray(0.5 * (waves > 0) + 0.5 * (cross > 0), np.float32)
