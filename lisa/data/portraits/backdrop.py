"""What is behind the head: walls, clutter, letters, patterns, foliage, people, lights, blurred or not."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from lisa.data.portraits.canvas import Array, Canvas, Points, ellipse, fractal, noise, one_of, stroke

Colors = tuple[Array, ...]
"""Colours of this portrait's skin and hair: backgrounds borrow them, so that colour alone decides nothing."""


def draw_background(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Paints the whole frame; nothing of it has a label."""
    _draw_wall(canvas, colors, rng)
    draw = one_of(KINDS, rng)
    draw(canvas, colors, rng)
    if rng.random() < 0.6:
        canvas.picture = _blurred(canvas.picture, float(rng.uniform(0.05, 0.2) ** 2) * canvas.size)
    if rng.random() < 0.15:
        light = rng.uniform(0.3, 1)  # a window or lamp behind: the wall burns out
        canvas.picture = canvas.picture * np.float32(1 + light) + np.float32(0.25 * light)
    canvas.picture = np.clip(canvas.picture, 0, 1).astype(np.float32)


def _color(colors: Colors, rng: np.random.Generator, borrowed: float = 0.15) -> Array:
    """A colour, seldom a loud one, sometimes the portrait's own."""
    if rng.random() < borrowed:
        return np.clip(colors[rng.integers(len(colors))] * rng.uniform(0.7, 1.2), 0, 1)
    grey, hue = rng.uniform(0.02, 0.98), rng.uniform(-0.5, 0.5, 3)
    return np.clip(grey + hue * rng.beta(1, 2), 0, 1).astype(np.float32)


def _draw_wall(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """One colour or two that run into each other: white, black and grey walls are common."""
    base, other = _color(colors, rng, 0.2), _color(colors, rng, 0.2)
    draw = rng.random()
    if draw < 0.45:
        level = rng.uniform(0.85, 1.1) if draw < 0.2 else rng.uniform(0, 0.12) if draw < 0.3 else rng.random()
        base = np.full(3, level, np.float32) + rng.normal(0, 0.03, 3).astype(np.float32)
    if rng.random() < 0.1:  # hair before it is told by its strands alone
        base = other = np.clip(colors[1] * rng.uniform(0.5, 1.3) + rng.normal(0, 0.03, 3), 0, 1)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = (canvas.x - 0.5) * np.cos(turn) + (canvas.y - 0.5) * np.sin(turn)
    steep = rng.uniform(0.5, 12) if rng.random() < 0.3 else rng.uniform(0, 1)
    ramp = np.clip(0.5 + (ramp - rng.normal(0, 0.25)) * steep, 0, 1).astype(np.float32)
    canvas.picture = (base + (other - base) * (ramp * rng.random())[..., None]).astype(np.float32)
    canvas.picture += noise(rng, canvas.size, (5, 5), 3) * np.float32(rng.beta(1, 4) * 0.4)


def _draw_nothing(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """A bare wall."""


def _draw_things(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Shapes of all sizes, hard and soft."""
    for _ in range(rng.integers(4, 36)):
        center, radii = rng.uniform(0, 1, 2), rng.uniform(0.05, 0.5, 2) ** 2 * 1.2 + 0.01
        kind, turn = rng.integers(4), rng.uniform(0, np.pi)
        if kind == 0:
            thing = ellipse(center, (radii[0], radii[1]), 16)
        elif kind == 1:
            thing = center + np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * radii
        elif kind == 2:
            thing = center + rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * radii * 1.5
        else:
            reach = np.array((np.cos(turn), np.sin(turn))) * rng.uniform(0.1, 1)
            thing = stroke(np.stack([center - reach, center + reach]), float(rng.uniform(0.005, 0.05)))
        canvas.paint(canvas.cover(thing), _color(colors, rng, 0.25), opacity=float(rng.uniform(0.3, 1)))


def _draw_letters(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Rows of made-up letters, as on posters and behind people on red carpets."""
    for _ in range(rng.integers(1, 4)):
        height = float(rng.uniform(0.03, 0.16) if rng.random() < 0.75 else rng.uniform(0.16, 0.4))
        pitch, slant = height * rng.uniform(0.6, 0.9), rng.normal(0, 0.1)
        weight = height * rng.uniform(0.08, 0.25)
        shapes: list[Points] = []
        top = rng.uniform(-0.1, 0.3)
        while top < 1 and len(shapes) < 90:
            left = rng.uniform(-0.1, 0.2)
            while left < 1 and len(shapes) < 90:
                if rng.random() < 0.85:
                    shapes += _letter(left, top + slant * left, height, weight, rng)
                left += pitch
            top += height * rng.uniform(1.2, 3)
        if shapes:
            canvas.paint(canvas.cover(*shapes), _color(colors, rng), opacity=float(rng.uniform(0.4, 1)))


def _letter(left: float, top: float, height: float, weight: float, rng: np.random.Generator) -> list[Points]:
    """One to three strokes, straight or round, between the corners of a cell."""
    grid = np.array([(x, y) for y in (0, 0.5, 1) for x in (0, 0.5)]) * height + (left, top)
    parts: list[Points] = []
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.3:
            ring = ellipse(grid[rng.integers(2, 4)], (height * 0.25, height * rng.choice((0.25, 0.5))))
            parts.append(stroke(ring[: int(rng.integers(14, 29))], weight))
        else:
            first, second = rng.choice(6, 2, replace=False)
            parts.append(stroke(grid[[first, second]], weight))
    return parts


def _draw_pattern(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Stripes, planks, bricks, tiles, books: lines in one direction or two, warped a little."""
    turn = rng.choice((0.0, np.pi / 2)) + rng.normal(0, 0.1)
    across = canvas.x * np.cos(turn) + canvas.y * np.sin(turn)
    along = canvas.y * np.cos(turn) - canvas.x * np.sin(turn)
    pitch = rng.uniform(4, 30)
    across = across + noise(rng, canvas.size, (4, 4)) * rng.beta(1, 5) * 0.05
    column = np.floor(across * pitch)
    row = np.floor(along * pitch * rng.uniform(0.2, 1) + 0.5 * (column % 2)) * (rng.random() < 0.6)
    table = np.clip(_color(colors, rng) + rng.normal(0, rng.uniform(0.02, 0.3), (64, 3)), 0, 1)
    if rng.random() < 0.3:
        table = np.stack([_color(colors, rng, 0.3) for _ in range(64)])
    cell = (column * 7 + row * 13).astype(np.int64) % 64
    edge = np.abs(across * pitch - column - 0.5) > 0.5 - rng.uniform(0, 0.12)
    painted = table.astype(np.float32)[cell] * np.where(edge, np.float32(rng.uniform(0.3, 1)), 1)[..., None]
    canvas.picture += (painted - canvas.picture) * np.float32(rng.uniform(0.4, 1))


def _draw_foliage(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Noise of many scales between two or three colours: leaves, stone, clouds, water, crowds far away."""
    field = fractal(rng, canvas.size, int(rng.integers(3, 9)), float(rng.uniform(0.4, 0.9)))
    field = np.clip(0.5 + field * rng.uniform(0.5, 4), 0, 1)[..., None]
    dark, light = _color(colors, rng, 0.3), _color(colors, rng)
    if rng.random() < 0.4:
        dark = np.array((0.1, 0.2, 0.05), np.float32) * rng.uniform(0.3, 1.5)
        light = np.array((0.5, 0.7, 0.3), np.float32) * rng.uniform(0.5, 1.4)
    canvas.picture += (dark + (light - dark) * field - canvas.picture) * np.float32(rng.uniform(0.4, 1))


def _draw_people(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Others, turned away or blurred: hair, skin and cloth that have no label."""
    for _ in range(rng.integers(1, 5)):
        side = rng.choice((-1, 1))
        x, y = 0.5 + side * rng.uniform(0.25, 0.6), rng.uniform(0.0, 0.9)
        size = rng.uniform(0.05, 0.28)
        skin, hair = colors[0] * rng.uniform(0.6, 1.2), colors[1] * rng.uniform(0.5, 1.3)
        body = [(x - size * 1.9, y + size * 4), (x - size * 1.6, y + size * 1.6), (x, y + size * 1.1)]
        body += [(x + size * 1.6, y + size * 1.6), (x + size * 1.9, y + size * 4)]
        canvas.paint(canvas.cover(np.array(body)), _color(colors, rng))
        canvas.paint(canvas.cover(ellipse((x, y - size * 0.15), (size * 1.1, size * 1.35))), hair)
        if rng.random() < 0.7:
            canvas.paint(canvas.cover(ellipse((x + size * 0.1, y + size * 0.2), (size * 0.8, size))), skin)
    canvas.picture = _blurred(canvas.picture, float(rng.uniform(0.004, 0.02)) * canvas.size)


def _draw_lights(canvas: Canvas, colors: Colors, rng: np.random.Generator) -> None:
    """Discs of light out of focus."""
    canvas.picture *= np.float32(rng.uniform(0.1, 0.8))
    radius = rng.uniform(0.01, 0.07)
    for _ in range(rng.integers(5, 30)):
        center, size = rng.uniform(0, 1, 2), float(radius * rng.uniform(0.7, 1.3))
        spot = ellipse(center, (size, size), 14)
        color = np.clip(_color(colors, rng, 0) + 0.35, 0, 1)
        canvas.paint(canvas.cover(spot), color, opacity=float(rng.uniform(0.2, 0.9)))


KINDS: dict[Callable[[Canvas, Colors, np.random.Generator], None], float] = {
    _draw_nothing: 0.24,
    _draw_things: 0.2,
    _draw_letters: 0.14,
    _draw_pattern: 0.13,
    _draw_foliage: 0.13,
    _draw_people: 0.09,
    _draw_lights: 0.07,
}
"""Kinds of backgrounds and how often each comes."""


def _blurred(picture: Array, radius: float) -> Array:
    eight_bit = Image.fromarray((np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(eight_bit.filter(ImageFilter.GaussianBlur(radius)), np.float32) / np.float32(255)
