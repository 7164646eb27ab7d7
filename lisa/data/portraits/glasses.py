"""Glasses: thin and thick rims, half rims and none, tints, gradients, reflections."""

from dataclasses import dataclass

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Points, moved, smooth, stroke
from lisa.data.portraits.pose import EYE, Pose

HIDDEN = 0.75
"""Opacity of lenses from which eyes can't be told, and so have no label."""


@dataclass(frozen=True)
class Glasses:
    """One pair, in head coordinates."""

    wide: float
    high: float
    squareness: float
    """2 an ellipse, 5 nearly a rectangle."""
    drop: float
    """How much lower the outer or inner corner lies: aviators, cat's eyes."""
    thick: float
    rim: Array
    tint: Array
    opacity: float
    """Of the lens: 0 clear, 1 black."""
    half_rim: bool
    gradient: bool

    @property
    def dark(self) -> bool:
        """Whether the lenses hide the eyes."""
        return self.opacity > HIDDEN


def draw_glasses_kind(rng: np.random.Generator) -> Glasses:
    """A random pair: seven in ten are clear."""
    draw = rng.random()
    opacity = (
        rng.uniform(0, 0.25) if draw < 0.6 else rng.uniform(0.25, 0.7) if draw < 0.7 else rng.uniform(0.8, 1)
    )
    dark_rim = rng.random() < 0.6
    thin = rng.random() < 0.45
    return Glasses(
        wide=float(rng.uniform(0.08, 0.112)),
        high=float(rng.uniform(0.042, 0.085) + 0.015 * (opacity > HIDDEN)),
        squareness=float(rng.uniform(2.0, 5.0)),
        drop=float(rng.normal(0, 0.012)),
        thick=float(rng.uniform(0.0025, 0.006) if thin else rng.uniform(0.006, 0.02)),
        rim=(rng.uniform(0.0, 0.2, 3) if dark_rim else rng.uniform(0.2, 0.95, 3)).astype(np.float32),
        tint=(rng.uniform(0.0, 0.2, 3) if rng.random() < 0.7 else rng.uniform(0, 0.8, 3)).astype(np.float32),
        opacity=float(opacity),
        half_rim=bool(thin and rng.random() < 0.5),
        gradient=bool(rng.random() < 0.4),
    )


def draw_glasses(canvas: Canvas, pose: Pose, kind: Glasses, rng: np.random.Generator) -> None:
    """Two lenses, a bridge and arms. The eyes and brows behind clear lenses keep their labels."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    power = 2 / kind.squareness
    circle = np.stack([_power(np.cos(angle), power), _power(np.sin(angle), power)], axis=1)
    slip = float(rng.uniform(0.0, 0.03))
    shine, shapes, rims = float(rng.beta(1, 2) * 0.8), list[Points](), list[Points]()
    for side in (-1, 1):
        outline = circle * (kind.wide, kind.high)
        outline[:, 1] += kind.drop * side * circle[:, 0]
        lens = pose.surface(moved(outline, side * 0.115, EYE[1] + slip), 0.03)
        _draw_lens(canvas, pose, lens, side, kind, slip, shine)
        ring = np.concatenate([lens, lens[:2]])
        rims.append(stroke(ring[20:] if kind.half_rim else ring, kind.thick))
        hinge = [(side * (0.115 + kind.wide), EYE[1] - 0.01 + slip / 2), (side * 0.234, EYE[1])]
        arm = np.stack([pose.surface(hinge[:1], 0.02)[0], pose.silhouette(hinge[1:])[0]])
        rims.append(stroke(arm, kind.thick))
        shapes.append(lens)
    inner = 0.115 - kind.wide
    bridge = [(-inner, EYE[1] + slip), (0, EYE[1] - 0.012 + slip), (inner, EYE[1] + slip)]
    rims.append(stroke(pose.surface(smooth(bridge, closed=False), 0.03), max(kind.thick, 0.005)))
    canvas.paint(canvas.cover(*rims), kind.rim)
    eyes = () if kind.dark else ("l_eye", "r_eye", "l_brow", "r_brow")
    canvas.claim(canvas.cover(*shapes, *rims), "eye_g", spare=eyes)


def _draw_lens(
    canvas: Canvas, pose: Pose, lens: Points, side: int, kind: Glasses, slip: float, shine: float
) -> None:
    """The glass: its tint, the room in it, and a spot of light."""
    glass = canvas.cover(lens)
    tint = kind.tint if kind.opacity > 0.1 else np.array((0.9, 0.95, 1.0), np.float32)
    if kind.gradient and kind.opacity > 0.25:
        glass.alpha[:] *= np.linspace(1, 0.8 if kind.dark else 0.3, len(glass.alpha), dtype=np.float32)[
            :, None
        ]
    canvas.paint(glass, tint, opacity=kind.opacity)
    spot = pose.surface([(side * 0.115 - 0.03, EYE[1] - 0.02 + slip)], 0.03)[0]
    patch = canvas.blob(spot, (0.03, 0.018))
    canvas.paint(patch, (1, 1, 1), opacity=shine)


def _power(value: Points, exponent: float) -> Points:
    return np.sign(value) * np.abs(value) ** exponent
