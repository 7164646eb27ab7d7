"""What lies on the skin, and is labelled skin: make-up, wrinkles, freckles, stubble and beards."""

import numpy as np

from lisa.data.portraits.canvas import (
    Array,
    Canvas,
    Patch,
    Points,
    ellipse,
    fractal,
    noise,
    smooth,
    stroke,
    within,
)
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import EYE, MOUTH_Y, Pose

BEARDS = {
    "full": ((0, 0.25, 0.13, 0.06), (-0.15, 0.14, 0.045, 0.09), (0.15, 0.14, 0.045, 0.09),
             (0, 0.1, 0.06, 0.017)),
    "goatee": ((0, 0.24, 0.055, 0.045), (-0.08, 0.16, 0.015, 0.05), (0.08, 0.16, 0.015, 0.05),
               (0, 0.1, 0.06, 0.014)),
    "moustache": ((0, 0.1, 0.06, 0.016), (-0.06, 0.11, 0.03, 0.012), (0.06, 0.11, 0.03, 0.012)),
    "jaw": ((0, 0.27, 0.12, 0.035), (-0.165, 0.14, 0.03, 0.1), (0.165, 0.14, 0.03, 0.1)),
}  # fmt: skip
"""Where beards grow: x, y, standard deviation across and down, in head coordinates."""


def draw_complexion(
    canvas: Canvas, pose: Pose, look: Look, face: Patch, rng: np.random.Generator, beard: float, bald: bool
) -> None:
    """Everything on the face's skin but the light; ``beard`` is its strength, 0 to 1."""
    _draw_sockets(canvas, pose, look, rng)
    blush = 0.05 + 0.15 * rng.random() + 0.25 * look.makeup
    for side in (-1, 1):
        cheek = pose.surface([(side * rng.uniform(0.11, 0.16), rng.uniform(0.0, 0.06))])[0]
        spot = canvas.blob(cheek, (float(rng.uniform(0.03, 0.06)), float(rng.uniform(0.025, 0.05))))
        canvas.paint(spot, look.skin * (1.02, 0.75, 0.74), opacity=blush)
    _draw_lines(canvas, pose, look, rng)
    if bald:
        _draw_skull(canvas, pose, look, face, rng)
    if rng.random() < 0.2:
        _draw_spots(canvas, pose, look, rng)
    if rng.random() < 0.03:  # painted: a patch of any colour
        place = pose.surface([rng.uniform(-0.2, 0.2, 2)])[0]
        patch = canvas.blob(place, (float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.02, 0.1))))
        canvas.paint(patch, rng.uniform(0, 1, 3), opacity=0.8)
    if beard > 0:
        _draw_beard(canvas, pose, look, face, rng, beard)


def _draw_sockets(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator) -> None:
    """Dark sockets, rings below the eyes, eye shadow of any colour: skin, however dark, and no glasses."""
    shadow = look.skin * np.float32(rng.uniform(0.3, 0.8))
    if look.makeup > 0 and rng.random() < 0.5:
        shadow = rng.uniform(0.02, 0.7, 3).astype(np.float32)
    strength = float(rng.beta(1, 2)) * 0.6 + 0.35 * look.makeup * rng.random()
    lift, wide = rng.uniform(0.0, 0.035), rng.uniform(0.028, 0.052)
    high = rng.uniform(0.01, 0.028)
    ring = float(rng.beta(1, 3)) * 0.6
    for side in (-1, 1):
        lid = pose.surface([(side * (EYE[0] + 0.005), EYE[1] - lift)])[0]
        canvas.paint(canvas.blob(lid, (wide, high)), shadow, opacity=min(strength, 0.85))
        below = pose.surface([(side * (EYE[0] - 0.008), EYE[1] + 0.032)])[0]
        canvas.paint(canvas.blob(below, (0.035, 0.011)), look.skin * (0.6, 0.5, 0.52), opacity=ring)


def _draw_skull(canvas: Canvas, pose: Pose, look: Look, face: Patch, rng: np.random.Generator) -> None:
    """A bald head's shine, and where its hair would grow a shadow: skin, however much it looks like hair."""
    if rng.random() < 0.15:
        top = pose.silhouette([(0.0, rng.uniform(-0.5, -0.38))])[0]
        scalp = canvas.blob(top, (0.3, float(rng.uniform(0.04, 0.12))))
        canvas.paint(within(face, scalp), look.skin * np.float32(rng.uniform(0.3, 0.9)), opacity=0.8)
    for _ in range(rng.integers(0, 4)):
        place = pose.silhouette([(rng.uniform(-0.15, 0.15), rng.uniform(-0.4, -0.25))])[0]
        spot = canvas.blob(place, (float(rng.uniform(0.01, 0.08)), float(rng.uniform(0.008, 0.04))))
        canvas.paint(within(face, spot), (1.0, 0.97, 0.92), opacity=float(rng.uniform(0.1, 0.8)))


def _draw_lines(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator) -> None:
    """Folds from the nose to the mouth, creases of the forehead and beside the eyes."""
    dark = look.skin * np.float32(0.72)
    deep = float(0.1 + 0.2 * rng.random() + 0.35 * look.age)
    creases: list[Points] = []
    for side in (-1, 1):
        bend = rng.uniform(0.085, 0.115)
        fold = smooth([(side * 0.062, 0.05), (side * bend, 0.1), (side * (bend + 0.008), 0.15)], closed=False)
        line = pose.surface(fold)
        canvas.paint(canvas.cover(stroke(line, np.linspace(0.003, 0.014, len(line)))), dark, opacity=deep)
        for _ in range(rng.integers(0, 4) if look.age > 0.35 else 0):
            y = EYE[1] + rng.uniform(-0.015, 0.02)
            crow = [(side * 0.175, EYE[1] + 0.3 * (y - EYE[1])), (side * 0.215, y)]
            creases.append(stroke(pose.surface(crow), 0.004))
    for height in (-0.22, -0.25, -0.28, -0.31)[: rng.integers(0, 5)]:
        line = smooth([(-0.12, height + 0.01), (0.0, height), (0.12, height + 0.012)], closed=False)
        creases.append(stroke(pose.surface(line), 0.006))
    if creases:
        canvas.paint(canvas.cover(*creases), dark, opacity=0.5 * look.age)


def _draw_spots(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator) -> None:
    """Freckles, spots or a mole."""
    count = int(rng.choice((1, 3, 30)))
    size = 0.003 if count == 30 else 0.006
    places = pose.surface(rng.uniform((-0.2, -0.15), (0.2, 0.2), (count, 2)))
    sizes = (size * rng.uniform(0.6, 1.3, count)).tolist()
    shapes = [ellipse(place, (each, each), 8) for place, each in zip(places, sizes, strict=True)]
    color = look.skin * (0.6, 0.45, 0.4)
    canvas.paint(canvas.cover(*shapes), color, opacity=float(rng.uniform(0.3, 0.8)))


def _draw_beard(
    canvas: Canvas, pose: Pose, look: Look, face: Patch, rng: np.random.Generator, strength: float
) -> None:
    """Stubble or a beard; CelebAMask-HQ calls it skin, and so does the mask."""
    field: Array = np.zeros((canvas.size, canvas.size), np.float32)
    kind = str(rng.choice(tuple(BEARDS), p=(0.55, 0.2, 0.13, 0.12)))
    for x, y, rx, ry in BEARDS[kind]:
        spot = canvas.blob(pose.surface([(x, y)])[0], (rx * pose.scale, ry * pose.scale))
        region = field[spot.rows, spot.cols]
        np.maximum(region, spot.alpha, out=region)
    field += np.float32(0.25) * noise(rng, canvas.size, (24, 24)) * (field > 0.05)
    field = np.clip((field - 0.15) * np.float32(rng.uniform(1.2, 4)), 0, 1)
    grain = 1 + np.float32(rng.uniform(0.1, 0.5)) * fractal(rng, canvas.size, 50, 0.9, 2)
    bare = canvas.blob(pose.surface([(0, MOUTH_Y)])[0], (0.07, 0.015))
    field[bare.rows, bare.cols] *= 1 - 0.7 * bare.alpha
    opacity = np.clip(field * grain, 0, 1)[face.rows, face.cols] * np.float32(strength)
    color = np.clip(look.hair * np.float32(rng.uniform(0.6, 1.1)), 0, 1)
    if rng.random() < 0.25:
        color = np.full(3, rng.uniform(0.5, 0.85), np.float32)  # grey before the hair is
    canvas.paint(Patch(face.rows, face.cols, face.alpha * opacity), color)
