"""What the camera does to the picture: light, exposure, colour, focus, noise and compression."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lisa.data.portraits.canvas import Array

LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def photograph(picture: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture (H,W,3), floats from 0 on, as a camera would have kept it: uint8 (H,W,3).

    Half of the pictures are as most photographs of faces are, well lit and well kept. The others' ranges are
    wider than photographs need (domain randomisation; Tobin et al. 2017).
    """
    size = picture.shape[0]
    wild = 1.0 if rng.random() < 0.5 else 0.3
    exposed = _developed(np.clip(picture, 0, 1).astype(np.float32), wild, rng)
    image = Image.fromarray((np.clip(exposed, 0, 1) * 255).astype(np.uint8))
    image = _focused(image, size, wild, rng)
    strength = rng.uniform(0, 1) ** 3 * 22 * wild
    grain = rng.standard_normal((size, size, 1), np.float32) * np.float32(0.8 * strength)
    grain = grain + rng.standard_normal((size, size, 3), np.float32) * np.float32(
        rng.uniform(0.1, 0.6) * strength
    )
    noisy = np.asarray(image, np.float32) + grain
    image = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", quality=int(100 - 75 * wild * rng.beta(1, 3)))
    return np.asarray(Image.open(buffer))


def _developed(picture: Array, wild: float, rng: np.random.Generator) -> Array:
    """Colour of the light, exposure, contrast, saturation, vignette, flare; some pictures are grey."""
    size = picture.shape[0]
    warm, tint = rng.normal(0, 0.1 * wild), rng.normal(0, 0.04 * wild)
    cast = np.array((1 + warm, 1 + tint, 1 - warm), np.float32)
    if rng.random() < 0.06 * wild:
        cast = rng.uniform(0.4, 1.3, 3).astype(np.float32)  # stage light
    exposure = 1 + wild * rng.uniform(-0.4, 0.15)
    seen = picture ** np.float32(np.exp(rng.normal(0, 0.25 * wild))) * (cast * np.float32(exposure))
    if rng.random() < 0.2 * wild:  # a lamp at one side: the other lies in the dark
        turn, place = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
        reach = np.linspace(-0.5, 0.5, size, dtype=np.float32)
        across = reach[None, :] * np.cos(turn) + 0.5 * reach[:, None] * np.sin(turn) - place
        lit = 1 / (1 + np.exp(-across * rng.uniform(6, 40)))
        dark = rng.uniform(0.12, 0.6)
        seen = seen * (dark + (1 - dark) * lit)[..., None].astype(np.float32)
    seen = np.minimum(seen, 1.25)
    pivot = np.float32(rng.uniform(0.3, 0.6))
    seen = pivot + (seen - pivot) * np.float32(np.exp(rng.normal(0.05, 0.2 * wild)))
    ramp = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    seen *= 1 - np.float32(rng.beta(1, 3) * 0.3 * wild) * (ramp[:, None] + ramp[None, :])[..., None]
    if rng.random() < 0.12 * wild:
        turn, reach = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, size, dtype=np.float32)
        flare = np.clip(reach[None, :] * np.cos(turn) + reach[:, None] * np.sin(turn) + 0.2, 0, 1)
        seen += (flare * np.float32(rng.uniform(0.2, 0.9)))[..., None].astype(np.float32)
    colorful = 0.0 if rng.random() < 0.08 * wild else float(np.clip(rng.normal(1, 0.25 * wild), 0.2, 1.7))
    grey = (seen @ LUMA)[..., None]
    return grey + (seen - grey) * np.float32(colorful)


def _focused(image: Image.Image, size: int, wild: float, rng: np.random.Generator) -> Image.Image:
    """Focus, its depth, bloom, sharpening, and pictures that were once smaller."""
    draw = rng.random()
    if draw < 0.12 * wild:
        small = max(16, int(size * rng.uniform(0.25, 0.7)))
        resample = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[rng.integers(2)]
        image = image.resize((small, small), Image.Resampling.BOX).resize((size, size), resample)
    elif draw < 0.22:
        radius = float(rng.uniform(0.004, 0.012)) * size
        image = image.filter(ImageFilter.UnsharpMask(radius, int(150 * wild), 0))
    elif draw < 0.8:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.beta(1, 3) * 0.012 * wild) * size))
    if rng.random() < 0.25:
        image = _shallow(image, size, rng)
    if rng.random() < 0.15 * wild:
        glow = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.01, 0.05)) * size))
        image = Image.blend(image, glow, float(rng.uniform(0.1, 0.45)))
    return image


def _shallow(image: Image.Image, size: int, rng: np.random.Generator) -> Image.Image:
    """Little depth of focus: hair, ears and shoulders melt away from a sharp face."""
    soft = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.006, 0.025)) * size))
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    distance = np.hypot((centres[None, :] - 0.5) / 0.3, (centres[:, None] - 0.58) / 0.38)
    share = np.clip((distance - rng.uniform(0.7, 1.1)) * rng.uniform(1.5, 5), 0, 1)
    return Image.composite(soft, image, Image.fromarray((share * 255).astype(np.uint8)))
