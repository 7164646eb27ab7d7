"""What comes before the face: hands, microphones, masks, things. Its pixels are background."""

from collections.abc import Callable

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Points, ellipse, moved, one_of, smooth, stroke
from lisa.data.portraits.fabric import make_fabric
from lisa.data.portraits.pose import Pose

SHARE = 0.11
"""How many portraits have one."""


def draw_occluder(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """One of KINDS, in some portraits."""
    if rng.random() > SHARE:
        return
    draw = one_of(KINDS, rng)
    draw(canvas, pose, skin, rng)


def _draw_hand(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """Fingers and a palm that come from below, lit as the head is."""
    side = rng.choice((-1, 1))
    x, y = side * rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.34)
    lean, thick = -side * rng.uniform(0.0, 0.7), rng.uniform(0.035, 0.05)
    fingers: list[Points] = []
    for finger in range(4):
        base = np.array((x + (finger - 1.5) * thick, y + 0.09))
        tip = base + np.array((lean * 0.12, -rng.uniform(0.1, 0.17)))
        fingers.append(
            stroke(np.stack([base, (base + tip) / 2 + rng.normal(0, 0.006, 2), tip]), thick * 0.92)
        )
        fingers.append(ellipse(tip, (thick * 0.46, thick * 0.5), 10))
    palm = [
        (x - 2.2 * thick, y + 0.08),
        (x + 2.2 * thick, y + 0.08),
        (x + 2 * thick, 0.7),
        (x - 2 * thick, 0.7),
    ]
    shapes = [pose.silhouette(shape) for shape in (*fingers, np.array(palm))]
    canvas.lit(canvas.cover(*[moved(shape, 0.006, 0.01) for shape in shapes]), np.full(3, 0.7))
    canvas.paint(canvas.cover(*shapes), skin * np.float32(rng.uniform(0.8, 1.1)), "background")
    for shape in shapes[::2]:
        canvas.lit(canvas.cover(stroke(shape, 0.005)), np.full(3, 0.75))


def _draw_microphone(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """A ball and a stick."""
    x, y, size = rng.normal(0, 0.12), rng.uniform(0.2, 0.36), rng.uniform(0.04, 0.085)
    color = np.full(3, rng.uniform(0.03, 0.5))
    end = (x + rng.normal(0, 0.2), 0.75)
    stick = pose.silhouette(stroke(np.array([(x, y), end]), size * 0.9))
    ball = pose.silhouette(smooth(ellipse((x, y), (size, size * rng.uniform(1, 1.3)), 10)))
    canvas.paint(canvas.cover(stick), color * 0.7, "background")
    canvas.paint(canvas.cover(ball), color, "background")
    glint = canvas.blob(ball.mean(0) - size * 0.3, (size * 0.3, size * 0.3))
    canvas.paint(glint, (1, 1, 1), opacity=0.4)


def _draw_mask(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """A cloth from the bridge of the nose to about the chin, with pleats and loops around the ears."""
    high, wide, low = rng.uniform(-0.06, 0.03), rng.uniform(0.19, 0.225), rng.uniform(0.27, 0.33)
    wide, low = wide * pose.width, float(pose.stretched(low))
    fabric = make_fabric(canvas, rng) if rng.random() < 0.4 else rng.uniform(0.1, 1, 3) * rng.uniform(0.5, 1)
    right = [(0.09, high + 0.03), (wide, high + 0.08), (wide * 0.98, 0.14), (0.12, low - 0.03)]
    outline = smooth([(0.0, high), *right, (0.0, low), *((-x, y) for x, y in reversed(right))])
    loops = [
        pose.surface(stroke(np.array([(side * wide * 0.97, y), (side * 0.245, -0.03)]), 0.008))
        for side in (-1, 1)
        for y in (high + 0.09, 0.14)
    ]
    canvas.paint(canvas.cover(*loops), np.full(3, rng.uniform(0.2, 1)), "background")
    patch = canvas.cover(pose.surface(outline, 0.04))
    canvas.paint(patch, fabric, "background")
    for y in np.linspace(high + 0.09, low - 0.08, int(rng.integers(0, 4))):
        pleat = smooth([(-wide * 0.9, y), (0.0, y + 0.02), (wide * 0.9, y)], closed=False)
        canvas.lit(canvas.cover(stroke(pose.surface(pleat, 0.05), 0.008)), np.full(3, 0.8))
    shaded = canvas.blob(pose.surface([(-0.5 * pose.turn, 0.2)])[0], (0.1, 0.08))
    canvas.lit(shaded, np.full(3, rng.uniform(0.8, 1.15)))


def _draw_thing(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """Something flat before a half of the face: a book, a door, a shoulder, a leaf, a glass."""
    turn, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.16)
    out = np.array((np.cos(turn), np.sin(turn)))
    along = np.array((-out[1], out[0]))
    half = rng.uniform(0.1, 0.6)
    edge = [out * reach + along * half * t + out * rng.normal(0, 0.02) for t in (-1.0, -0.3, 0.3, 1.0)]
    outline = np.array([*edge, out * 0.9 + along * half, out * 0.9 - along * half])
    if rng.random() < 0.5:
        outline = smooth(outline)
    patch = canvas.cover(pose.place(outline))
    canvas.lit(canvas.cover(moved(pose.place(outline), -0.01 * out[0], -0.01 * out[1])), np.full(3, 0.7))
    canvas.paint(patch, make_fabric(canvas, rng), "background")


KINDS: dict[Callable[[Canvas, Pose, Array, np.random.Generator], None], float] = {
    _draw_hand: 0.35,
    _draw_microphone: 0.2,
    _draw_mask: 0.25,
    _draw_thing: 0.2,
}
"""What may come before a face, and how often each does."""
