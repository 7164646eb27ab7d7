"""Neck, ears and the face's outline, with the soft light and shade on them."""

from dataclasses import dataclass

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Patch, Points, ellipse, moved, smooth, stroke
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import Pose
from lisa.labels import IDS

FACE = (
    (0.0, -0.405), (0.105, -0.39), (0.178, -0.335), (0.222, -0.23), (0.233, -0.10), (0.226, 0.02),
    (0.202, 0.115), (0.158, 0.205), (0.102, 0.262), (0.05, 0.286), (0.0, 0.291),
)  # fmt: skip
"""The right half of the face's outline, from the top of the forehead down to the chin."""


NOT_NECK = tuple(name for name in IDS if name != "neck")


def face_outline(rng: np.random.Generator) -> Points:
    """A random face (N, 2) in head coordinates: width, jaw, chin and cheeks vary."""
    half = np.array(FACE)
    width, jaw, chin = rng.normal(1, 0.05), rng.normal(1, 0.09), rng.normal(0, 0.016)
    lower = np.clip(half[:, 1] / 0.29, 0, 1)
    half[:, 0] *= width * (1 + (jaw - 1) * lower)
    half[:, 1] += chin * lower**2
    left = half[1:-1][::-1] * (-1, 1)
    return np.concatenate([half, left])


def draw_neck(
    canvas: Canvas, pose: Pose, look: Look, flat: Array, bare: bool, rng: np.random.Generator
) -> Array:
    """The neck, and bare shoulders where no clothes cover them; the skin (size, size, 3) that they have.

    It is lit as a column is, and no more than roughly of the face's colour: make-up ends at the chin, and the
    chin keeps the light away.
    """
    width = rng.uniform(0.15, 0.2)
    lean = rng.normal(0, 0.012)
    shoulder = rng.uniform(0.02, 0.12) if bare else 0.05
    right = [
        (width, 0.05),
        (width * 0.98, 0.24),
        (width * 1.06, 0.36),
        (width + shoulder, 0.42),
        (width + 0.3, 0.5),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    outline = smooth(moved([*right, (width + 0.3, 0.7), (-width - 0.3, 0.7), *left], lean, 0))
    neck = canvas.cover(pose.silhouette(outline))
    middle, _ = pose.silhouette([(lean, 0.3)])[0]
    column = look.shading(canvas, (float(middle), 0.9), (float(rng.uniform(0.2, 0.5)), 2.0))
    tone = rng.uniform(0.6, 1.08) * np.array((1, rng.uniform(0.88, 1.03), rng.uniform(0.84, 1.03)))
    skin = np.clip(flat * column[..., None] * tone, 0, 1).astype(np.float32)
    canvas.paint(neck, skin, "neck")
    _shade(
        canvas,
        neck,
        canvas.blob(pose.silhouette([(lean, 0.27)])[0], (0.17, float(rng.uniform(0.03, 0.08)))),
        float(rng.uniform(0.1, 0.85)) * look.contrast,
    )
    for side in (-1, 1):
        tendon = [(side * 0.1 + lean, 0.3), (side * 0.05 + lean, 0.42)]
        canvas.lit(canvas.cover(stroke(pose.silhouette(tendon), 0.02)), 1 - 0.12 * look.age * np.ones(3))
        bone = [(side * 0.03 + lean, 0.42), (side * 0.14 + lean, 0.4), (side * 0.3 + lean, 0.41)]
        line = stroke(pose.silhouette(smooth(bone, closed=False)), float(rng.uniform(0.008, 0.02)))
        canvas.lit(canvas.cover(line), np.full(3, 1 - rng.uniform(-0.15, 0.3) * look.contrast))
    return skin


def _shade(canvas: Canvas, inside: Patch, spot: Patch, strength: float) -> None:
    """Darken by a Gaussian spot, inside a shape only."""
    field = np.ones((canvas.size, canvas.size), np.float32)
    field[spot.rows, spot.cols] -= strength * spot.alpha
    canvas.lit(inside, field)


@dataclass(frozen=True)
class Ears:
    """Both ears of one head, in head coordinates; they vary far beyond what heads have."""

    wide: float
    """Half the width of one that is seen from the front."""
    high: float
    """Half the height."""
    out: float
    """How far they stand off."""
    low: float
    """y of their middle."""

    def center(self, pose: Pose, side: int) -> tuple[float, float]:
        """The middle of an ear in silhouette coordinates; the far one hides behind the cheek."""
        away = -side * pose.turn
        return side * (0.242 + self.out + 0.12 * min(0.0, away) - 0.1 * max(0.0, away)), self.low

    def lobe(self, pose: Pose, side: int) -> Points:
        """Where an earring hangs, frame coordinates (2,)."""
        x, y = self.center(pose, side)
        return pose.silhouette([(x + side * 0.012, y + 0.8 * self.high)])[0]


def draw_ears(rng: np.random.Generator) -> Ears:
    """Random ears."""
    return Ears(
        wide=float(rng.uniform(0.03, 0.06)),
        high=float(rng.uniform(0.085, 0.135)),
        out=float(rng.uniform(-0.008, 0.02)),
        low=float(rng.normal(-0.035, 0.02)),
    )


def draw_ear(
    canvas: Canvas, pose: Pose, skin: Array, ears: Ears, side: int, rng: np.random.Generator
) -> None:
    """One ear: side 1 is the picture's right, the person's left.

    A head that turns away from it makes it wider.
    """
    x, y = ears.center(pose, side)
    wide, high = ears.wide + 0.045 * max(0.0, -side * pose.turn), ears.high
    shape = np.array([
        (-0.6, 0.75), (-0.7, 0.0), (-0.5, -0.7), (0.2, -1.0), (0.95, -0.7), (1.0, -0.1), (0.7, 0.45),
        (0.45, 0.9), (0.0, 1.0),
    ])  # fmt: skip
    outline = smooth(shape * (side * wide, high) + (x, y))
    patch = canvas.cover(pose.silhouette(outline))
    tone = np.array((1.0, 0.93, 0.92), np.float32) * np.float32(rng.uniform(0.5, 1.15))
    canvas.paint(patch, np.clip(skin * tone, 0, 1), "l_ear" if side == 1 else "r_ear")
    rim = np.array([(-0.1, -0.7), (0.5, -0.72), (0.68, -0.2), (0.45, 0.3)]) * (side * wide, high) + (x, y)
    dark = np.array((0.72, 0.62, 0.6), np.float32) + np.float32(rng.uniform(-0.1, 0.25))
    canvas.lit(canvas.cover(stroke(pose.silhouette(smooth(rim, closed=False)), 0.012)), dark)
    hollow = ellipse((x + side * wide * 0.05, y), (wide * 0.35, high * 0.3))
    canvas.lit(canvas.cover(pose.silhouette(hollow)), dark)


def draw_face(
    canvas: Canvas, pose: Pose, look: Look, skin: Array, outline: Points, rng: np.random.Generator
) -> Patch:
    """Forehead, cheeks and chin in one shape, and their shadow on the neck.

    The label reaches below the chin: people who label masks count the jaw's dark underside to the face.
    """
    edge = pose.silhouette(smooth(outline))
    face = canvas.cover(edge)
    fall = -np.array(look.light[:2]) * rng.uniform(0.02, 0.1) + (0, rng.uniform(0.0, 0.04))
    dark = 1 - look.contrast * rng.uniform(0, 0.6) * np.array((0.9, 1, 1))
    canvas.lit(canvas.cover(moved(edge, *fall.tolist())), dark)
    canvas.paint(face, skin, "skin")
    low = canvas.cover(moved(edge, 0, float(rng.uniform(0.0, 0.011))))
    canvas.claim(low, "skin", spare=NOT_NECK)
    return face
