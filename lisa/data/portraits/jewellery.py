"""Necklaces and earrings."""

import numpy as np

from lisa.data.portraits.canvas import Canvas, Points, ellipse, moved, noise, smooth, stroke
from lisa.data.portraits.head import Ears
from lisa.data.portraits.pose import Pose

METALS = ((0.83, 0.68, 0.32), (0.8, 0.8, 0.82), (0.9, 0.88, 0.84), (0.55, 0.42, 0.25))


def draw_necklace(canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
    """A chain or beads around the neck, above the collar."""
    metal = np.array(METALS[rng.integers(4)], np.float32)
    wide, drop = rng.uniform(0.115, 0.15), rng.uniform(0.035, 0.075)
    line = pose.silhouette(
        smooth(
            [
                (-wide, 0.31),
                (-wide * 0.6, 0.31 + drop * 0.75),
                (0, 0.31 + drop),
                (wide * 0.6, 0.31 + drop * 0.75),
                (wide, 0.31),
            ],
            closed=False,
            steps=8,
        )
    )
    thick = max(float(rng.uniform(0.003, 0.012)), 1.2 / canvas.size)
    shapes = [stroke(line, thick)]
    if rng.random() < 0.5:
        shapes = [ellipse(point, (thick * 0.9, thick * 0.9), 10) for point in line[::2]] + shapes
    if rng.random() < 0.5:
        shapes.append(ellipse(moved(line[len(line) // 2], 0, 0.02), (0.013, 0.018)))
    chain = canvas.cover(*shapes)
    canvas.lit(canvas.cover(*[moved(shape, 0.002, 0.005) for shape in shapes]), (0.7, 0.7, 0.7))
    sparkle = metal * (1 + 0.35 * noise(rng, canvas.size, (80, 80)))[..., None]
    canvas.paint(chain, np.clip(sparkle, 0, 1), "neck_l")


def draw_earrings(
    canvas: Canvas, pose: Pose, ears: Ears, sides: tuple[int, ...], rng: np.random.Generator
) -> None:
    """The same stud, hoop or drop at each side."""
    metal = np.array(METALS[rng.integers(4)], np.float32) if rng.random() < 0.7 else rng.uniform(0.1, 0.9, 3)
    kind = rng.choice(("stud", "hoop", "drop", "long"), p=(0.25, 0.25, 0.25, 0.25))
    size = rng.uniform(1.0, 1.9)
    sparkle = np.clip(metal * (1 + 0.4 * noise(rng, canvas.size, (70, 70)))[..., None], 0, 1)
    for side in sides:
        at = ears.lobe(pose, side)
        canvas.paint(canvas.cover(*_earring(str(kind), at, size, canvas)), sparkle, "ear_r")
        canvas.paint(canvas.blob(at - 0.003, (0.004, 0.004)), (1, 1, 1), opacity=0.6)


def _earring(kind: str, at: Points, size: float, canvas: Canvas) -> list[Points]:
    if kind == "stud":
        return [ellipse(at, (0.014 * size, 0.014 * size))]
    if kind == "hoop":
        ring = ellipse(moved(at, 0, 0.035 * size), (0.026 * size, 0.036 * size), 32)
        return [stroke(np.concatenate([ring, ring[:2]]), max(0.009, 1.6 / canvas.size))]
    if kind == "drop":
        return [
            ellipse(at, (0.008, 0.008)),
            ellipse(moved(at, 0, 0.035 * size), (0.016 * size, 0.026 * size)),
        ]
    beads = [ellipse(moved(at, 0, 0.022 * i * size), (0.011 * size, 0.013 * size), 12) for i in range(5)]
    return [*beads, ellipse(moved(at, 0, 0.125 * size), (0.022 * size, 0.026 * size))]
