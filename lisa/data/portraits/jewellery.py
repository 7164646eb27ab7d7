"""Necklaces and earrings."""

import numpy as np

from lisa.data.portraits.canvas import Canvas, Points, ellipse, moved, noise, one_of, smooth, stroke
from lisa.data.portraits.head import Ears
from lisa.data.portraits.pose import Pose

METALS = ((0.83, 0.68, 0.32), (0.8, 0.8, 0.82), (0.9, 0.88, 0.84), (0.55, 0.42, 0.25))
EARRINGS = {"stud": 0.2, "hoop": 0.2, "drop": 0.15, "long": 0.15, "disc": 0.13, "leaf": 0.17}
"""Kinds of earrings and how often each comes."""


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
    """The same one at each side, and before the hair of an ear that does not show, as likely as not."""
    metal = np.array(METALS[rng.integers(4)], np.float32) if rng.random() < 0.6 else rng.uniform(0.05, 0.9, 3)
    kind = one_of(EARRINGS, rng)
    size = float(np.clip(np.exp(rng.normal(0.35, 0.35)), 0.7, 2.6))
    grain = float(rng.uniform(0.3, 0.9))
    sparkle = np.clip(metal * (1 + grain * noise(rng, canvas.size, (70, 70)))[..., None], 0, 1)
    solid, filled = float(rng.uniform(0.75, 1)), rng.random() < 0.5
    hidden = tuple(s for s in (1, -1) if s not in sides and -s * pose.turn > -0.2)
    for side in sides + (hidden if kind != "stud" and rng.random() < 0.5 else ()):
        at = ears.lobe(pose, side)
        if kind == "hoop" and filled:  # people outline it from outside
            canvas.claim(canvas.cover(_ring(at, size)), "ear_r")
        canvas.paint(canvas.cover(*_earring(kind, at, size, canvas)), sparkle, "ear_r", solid)
        canvas.paint(canvas.blob(at - 0.003, (0.004, 0.004)), (1, 1, 1), opacity=0.6)


def _ring(at: Points, size: float) -> Points:
    return ellipse(moved(at, 0, 0.035 * size), (0.026 * size, 0.036 * size), 32)


def _earring(kind: str, at: Points, size: float, canvas: Canvas) -> list[Points]:
    if kind == "stud":
        return [ellipse(at, (0.014 * size, 0.014 * size))]
    if kind == "hoop":
        ring = _ring(at, size)
        return [stroke(np.concatenate([ring, ring[:2]]), max(0.009, 1.6 / canvas.size))]
    if kind == "drop":
        return [
            ellipse(at, (0.008, 0.008)),
            ellipse(moved(at, 0, 0.035 * size), (0.016 * size, 0.026 * size)),
        ]
    if kind == "disc":
        return [ellipse(at, (0.01, 0.01)), ellipse(moved(at, 0, 0.036 * size), (0.032 * size, 0.034 * size))]
    if kind == "leaf":
        half = np.array([(0.0, 0.0), (0.012, 0.03), (0.027, 0.07), (0.02, 0.095), (0.0, 0.115)])
        return [smooth(np.concatenate([half, half[1:-1][::-1] * (-1, 1)]) * size + at)]
    beads = [ellipse(moved(at, 0, 0.022 * i * size), (0.011 * size, 0.013 * size), 12) for i in range(5)]
    return [*beads, ellipse(moved(at, 0, 0.125 * size), (0.022 * size, 0.026 * size))]
