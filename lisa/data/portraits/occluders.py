"""What comes between the camera and the face: hands, microphones, a strap. Its pixels are background."""

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Points, ellipse, moved, smooth, stroke
from lisa.data.portraits.pose import Pose

SHARE = 0.06
"""How many portraits have one."""


def draw_occluder(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator) -> None:
    """A hand or a microphone at the lower half of the face, in some portraits."""
    if rng.random() > SHARE:
        return
    if rng.random() < 0.6:
        _draw_hand(canvas, pose, skin, rng)
    else:
        _draw_microphone(canvas, pose, rng)


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


def _draw_microphone(canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
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
