"""What is behind the head, and what the camera does to the picture."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lisa.data.portraits.canvas import Array, Canvas, ellipse, noise


def draw_background(canvas: Canvas, look_colors: tuple[Array, ...], rng: np.random.Generator) -> None:
    """A wall, a gradient, blurred lights or blurred things; sometimes in the colours of skin or hair."""
    size = canvas.size
    base, other = _muted(rng), _muted(rng)
    if rng.random() < 0.4:
        base = np.full(3, rng.uniform(0.03, 0.97), np.float32) + rng.normal(0, 0.05, 3).astype(np.float32)
    if rng.random() < 0.2:
        other = look_colors[rng.integers(len(look_colors))]
    turn = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + (canvas.x - 0.5) * np.cos(turn) + (canvas.y - 0.5) * np.sin(turn)
    canvas.picture = base + (other - base) * (ramp * rng.uniform(0, 0.9))[..., None]
    canvas.picture += noise(rng, size, (5, 5), 3) * rng.uniform(0.02, 0.12)
    for _ in range(rng.integers(0, 14) if rng.random() < 0.7 else 0):
        color = look_colors[rng.integers(len(look_colors))] if rng.random() < 0.15 else _muted(rng)
        center, radii = rng.uniform(0, 1, 2), (rng.uniform(0.03, 0.3), rng.uniform(0.03, 0.3))
        if rng.random() < 0.5:
            thing = ellipse(center, radii)
        else:
            thing = center + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * radii
        canvas.paint(canvas.cover(thing), color, opacity=float(rng.uniform(0.3, 1)))
    if rng.random() < 0.75:
        canvas.picture = _blurred(canvas.picture, float(rng.uniform(0.003, 0.04)) * size)
    canvas.picture += noise(rng, size, (48, 48)).reshape(size, size, 1) * rng.uniform(0, 0.06)
    canvas.picture = np.clip(canvas.picture, 0, 1).astype(np.float32)


def _muted(rng: np.random.Generator) -> Array:
    """A colour, seldom a loud one."""
    grey, hue = rng.uniform(0.03, 0.95), rng.uniform(-0.5, 0.5, 3)
    return np.clip(grey + hue * rng.beta(1, 2.5), 0, 1).astype(np.float32)


def _blurred(picture: Array, radius: float) -> Array:
    eight_bit = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(eight_bit.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.float32(255)


def photograph(picture: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, colour cast, vignette, focus, sensor noise and JPEG: float (H, W, 3) to uint8 (H, W, 3)."""
    size = picture.shape[0]
    cast = rng.normal(1, 0.05, 3) * rng.uniform(0.68, 1.05)
    exposed = np.clip(picture, 0, 1) ** rng.uniform(0.8, 1.25) * cast
    ramp = np.linspace(-1, 1, size) ** 2
    exposed *= 1 - (rng.uniform(0, 0.3) * (ramp[:, None] + ramp[None, :]) / 2)[..., None]
    image = Image.fromarray((np.clip(exposed, 0, 1) * 255).astype(np.uint8))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.0045) * size)))
    grain = rng.normal(0, 1, (size, size, 1)) * 0.8 + rng.normal(0, 1, (size, size, 3)) * 0.5
    noisy = np.asarray(image, np.float32) + grain * rng.uniform(0.5, 7)
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=int(rng.integers(55, 96)))
    return np.asarray(Image.open(buffer))
