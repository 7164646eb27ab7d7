"""Light on the face: one relief of forehead, sockets, nose, cheeks, lips and chin, lit from one side.

Nothing here draws an outline: as in photographs, light alone parts the nose from the cheeks and darkens the
sockets. How deep the relief is and how hard the light varies far beyond what photographs show.
"""

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Patch
from lisa.data.portraits.head import FACE
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import DEPTH, EYE, MOUTH_Y, Pose

FACE_HALF = max(x for x, _ in FACE)
BUMPS = (
    # x, y, height above the head's round surface, radius across, radius down; those with x lie at both sides
    (0.0, -0.10, 0.012, 0.020, 0.040),
    (0.0, -0.04, 0.022, 0.020, 0.040),
    (0.0, 0.015, 0.032, 0.024, 0.035),
    (0.0, 0.045, 0.036, 0.028, 0.022),
    (0.038, 0.055, 0.020, 0.016, 0.015),
    (0.062, -0.112, -0.022, 0.024, 0.026),
    (0.120, -0.145, -0.012, 0.045, 0.018),
    (0.117, -0.116, 0.010, 0.034, 0.018),
    (0.110, -0.075, -0.006, 0.045, 0.010),
    (0.100, -0.190, 0.010, 0.060, 0.018),
    (0.145, 0.010, 0.016, 0.050, 0.045),
    (0.095, 0.080, -0.007, 0.014, 0.035),
    (0.16, 0.110, -0.010, 0.045, 0.060),
    (0.210, -0.210, -0.014, 0.035, 0.070),
    (0.0, 0.1, -0.006, 0.010, 0.016),
    (0.0, MOUTH_Y - 0.018, 0.010, 0.045, 0.012),
    (0.0, MOUTH_Y + 0.020, 0.013, 0.042, 0.014),
    (0.0, MOUTH_Y + 0.056, -0.012, 0.040, 0.011),
    (0.0, 0.245, 0.022, 0.050, 0.030),
    (0.0, -0.290, 0.010, 0.120, 0.060),
)
"""The face's relief, in head coordinates and units of the frame."""


def light_face(canvas: Canvas, pose: Pose, look: Look, face: Patch, rng: np.random.Generator) -> None:
    """Multiplies the finished face, features included, by the light that falls on its relief."""
    height = _height(canvas, pose, face, float(rng.uniform(0.5, 1.5)), rng)
    down, across = np.gradient(height, np.float32(1 / canvas.size))
    length = np.sqrt(1 + down * down + across * across)
    lx, ly, lz = look.light
    facing = (lz - across * lx - down * ly) / length
    lit = np.clip(facing, 0, 1)
    hard = np.float32(look.contrast)
    brightness = 1 + hard * (lit - np.float32(0.72))
    if rng.random() < 0.3:  # a second lamp from the other side
        fill = np.clip((lz + across * lx * 2 - down * ly) / length, 0, 1) * np.float32(rng.uniform(0.1, 0.5))
        brightness += fill * hard
    _cast_shadows(canvas, pose, look, face, brightness, rng)
    # Light that has passed through the skin is red: shadows are warmer than lights.
    warmth = np.array((0.25, 0.0, -0.1), np.float32) * np.float32(rng.uniform(0, 1))
    field = np.maximum(brightness, 0.08)[..., None] ** (1 - warmth * 0.6)
    region = canvas.picture[face.rows, face.cols]
    region *= 1 + (field - 1) * face.alpha[..., None]
    shine = np.float32(rng.beta(1, 2) * 0.6) * np.clip(facing, 0, 1) ** np.float32(rng.uniform(12, 60))
    region += (shine * face.alpha * hard)[..., None] * np.array((1, 0.97, 0.92), np.float32)


def _height(canvas: Canvas, pose: Pose, face: Patch, depth: float, rng: np.random.Generator) -> Array:
    """How far each pixel of the face's rectangle stands out towards the camera, in units of the frame."""
    top, bottom = pose.stretched((FACE[0][1], FACE[-1][1]))
    center = pose.place(np.array([(-0.06 * pose.turn, (top + bottom) / 2)]))[0]
    wide, high = 1.16 * FACE_HALF * pose.width * pose.scale, 0.6 * (bottom - top) * pose.scale
    x = (canvas.x[face.rows, face.cols] - np.float32(center[0])) / np.float32(wide)
    y = (canvas.y[face.rows, face.cols] - np.float32(center[1])) / np.float32(high)
    height = np.float32(DEPTH * rng.uniform(0.7, 1.2)) * np.sqrt(np.clip(1 - x * x - y * y, 0.02, 1))
    for bump_x, bump_y, rise, across, down in BUMPS:
        strength = rise * depth * rng.uniform(0.6, 1.4)
        for side in (1, -1) if bump_x else (1,):
            place = pose.surface([(side * bump_x, bump_y)], max(rise, 0.0))[0]
            wide = across * pose.scale * float(np.cos(pose.yaw))
            _add(height, face, canvas.blob(place, (wide, down * pose.scale)), strength)
    return height


def _add(field: Array, face: Patch, spot: Patch, strength: float) -> None:
    """Adds a spot to a field that covers the face's rectangle."""
    top, bottom = max(face.rows.start, spot.rows.start), min(face.rows.stop, spot.rows.stop)
    left, right = max(face.cols.start, spot.cols.start), min(face.cols.stop, spot.cols.stop)
    if bottom <= top or right <= left:
        return
    rows = slice(top - face.rows.start, bottom - face.rows.start)
    cols = slice(left - face.cols.start, right - face.cols.start)
    alpha = spot.alpha[
        top - spot.rows.start : bottom - spot.rows.start, left - spot.cols.start : right - spot.cols.start
    ]
    field[rows, cols] += np.float32(strength) * alpha


def _cast_shadows(
    canvas: Canvas, pose: Pose, look: Look, face: Patch, brightness: Array, rng: np.random.Generator
) -> None:
    """Darkens where the nose, the brows and the lower lip keep the light away."""
    lx, ly, _ = look.light
    reach = np.array((-lx, -ly)) * 0.07
    # Under a hard lamp above, the sockets are as dark as sunglasses.
    above = float(rng.uniform(2, 5)) if rng.random() < 0.12 else 1.0
    for x, y, wide, high, strength in (
        (0.0, 0.072, 0.030, 0.014, 0.5),
        (EYE[0], EYE[1] - 0.025, 0.045, 0.016 * above**0.5, 0.25 * above),
        (-EYE[0], EYE[1] - 0.025, 0.045, 0.016 * above**0.5, 0.25 * above),
        (0.0, MOUTH_Y + 0.05, 0.04, 0.010, 0.2),
    ):
        place = pose.surface([(x, y)], 0.02)[0] + reach * pose.scale
        spot = canvas.blob(place, (wide * pose.scale, high * pose.scale))
        _add(brightness, face, spot, -strength * float(rng.uniform(0.5, 2)) * look.contrast)
