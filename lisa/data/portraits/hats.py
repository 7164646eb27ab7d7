"""Hats of many kinds: wool, caps, brims, berets, bands, hoods, helmets, crowns."""

from collections.abc import Callable

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Points, moved, one_of, smooth, stroke
from lisa.data.portraits.fabric import make_fabric
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import Pose


def draw_hat(canvas: Canvas, pose: Pose, look: Look, top: float, rng: np.random.Generator) -> None:
    """One hat over hair that stands ``top`` above the skull."""
    fabric = make_fabric(canvas, rng)
    center = pose.silhouette([(0.0, -0.35)])[0]
    fabric *= look.shading(canvas, (float(center[0]), float(center[1])), (0.36, 0.3))[..., None]
    draw = one_of(KINDS, rng)
    draw(canvas, pose, np.clip(fabric, 0, 1), min(top, 0.1), rng)


def _put(canvas: Canvas, outline: Points, fabric: Array, shadow: float = 0.66) -> None:
    """A part of a hat and its shadow."""
    canvas.lit(canvas.cover(moved(outline, 0, 0.025)), np.full(3, shadow))
    canvas.paint(canvas.cover(outline), fabric, "hat")


def _mirrored(half: list[tuple[float, float]]) -> Points:
    """A closed outline (N, 2) from its right half, whose first point, and whose last, lie on the axis."""
    return smooth([*half, *((-x, y) for x, y in reversed(half[1:-1]))])


def _dome(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> float:
    """The part that sits on the head; returns y of its lower edge."""
    wide, high = 0.245 + 0.5 * top, -0.42 - top * 0.6 - rng.uniform(0, 0.07)
    low = float(rng.uniform(-0.29, -0.2))
    square, drop = rng.uniform(0.4, 0.8), rng.uniform(0.02, 0.11)
    half = [(0.0, high), (wide * square, high + 0.04), (wide * 0.97, -0.36), (wide, low + drop)]
    half += [(wide * 0.5, low), (0.0, low - 0.005)]
    _put(canvas, pose.silhouette(_mirrored(half)), fabric)
    return low


def _before(pose: Pose, points: Points, lift: float) -> Points:
    """Frame coordinates of points (N, 2) on the dome's front, ``lift`` above the forehead's surface."""
    return pose.surface(np.column_stack([points[:, 0], pose.stretched(points[:, 1])]), lift)


def _draw_wool(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A woollen hat with a cuff, and at times a bobble or sides that cover the ears."""
    low = _dome(canvas, pose, fabric, top, rng)
    wide = 0.262 + 0.5 * top
    half = [(0.0, low - 0.07), (wide * 0.7, low - 0.065), (wide, low - 0.05), (wide, low + 0.03)]
    half += [(wide * 0.6, low + 0.02), (0.0, low + 0.012)]
    cuff = np.clip(fabric * np.float32(rng.uniform(0.7, 1.2)), 0, 1)
    _put(canvas, pose.silhouette(_mirrored(half)), cuff, 0.8)
    if rng.random() < 0.25:
        ball = smooth([(0.07, -0.6), (0, -0.53), (-0.07, -0.6), (0, -0.67)])
        _put(canvas, pose.silhouette(moved(ball, 0, -top)), fabric, 1.0)
    if rng.random() < 0.2:
        for side in (-1, 1):
            flap = smooth(
                np.array([(0.2, low), (0.31, low), (0.3, 0.0), (0.25, 0.1), (0.22, -0.05)]) * (side, 1)
            )
            _put(canvas, pose.silhouette(flap), fabric, 0.8)


def _draw_cap(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A cap; its peak points to the camera, and a badge may sit above it. Some are worn backwards."""
    low = _dome(canvas, pose, fabric, top, rng)
    other = make_fabric(canvas, rng) if rng.random() < 0.4 else np.clip(fabric * np.float32(0.75), 0, 1)
    if rng.random() < 0.5:
        badge = smooth([(-0.07, low - 0.06), (0.07, low - 0.06), (0.06, low - 0.15), (-0.06, low - 0.15)])
        canvas.paint(canvas.cover(_before(pose, badge, 0.05)), rng.uniform(0, 1, 3), opacity=0.9)
    if rng.random() < 0.15:
        return
    long, wide = rng.uniform(0.04, 0.1), rng.uniform(0.17, 0.25)
    half = [(0.0, low - 0.05), (wide, low - 0.015), (wide * 0.8, low + long * 0.7), (0.0, low + long)]
    _put(canvas, _before(pose, _mirrored(half), 0.06), other, float(rng.uniform(0.4, 0.8)))


def _draw_brim(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A straw hat, a fedora, a cowboy's hat: a crown, a ribbon and a brim that may turn up at the sides."""
    low = _dome(canvas, pose, fabric, top, rng)
    reach, up = rng.uniform(0.3, 0.5), rng.normal(0, 0.06)
    half = [
        (0.0, low - 0.06),
        (reach * 0.5, low - 0.05),
        (reach, low + 0.02 - up),
        (reach * 0.55, low + 0.04),
    ]
    half.append((0.0, low + rng.uniform(0.03, 0.08)))
    if rng.random() < 0.6:
        ribbon = smooth([(-0.29, low - 0.06), (0.0, low - 0.04), (0.29, low - 0.06)], closed=False)
        band = stroke(pose.silhouette(ribbon), float(rng.uniform(0.03, 0.07)))
        canvas.paint(canvas.cover(band), make_fabric(canvas, rng), "hat")
    brim = np.clip(fabric * np.float32(rng.uniform(0.6, 1.1)), 0, 1)
    _put(canvas, pose.silhouette(_mirrored(half)), brim, float(rng.uniform(0.4, 0.8)))


def _draw_beret(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A beret or a flat cap, down at one side."""
    side, low = rng.choice((-1, 1)), rng.uniform(-0.33, -0.27)
    outline = np.array([
        (-0.27, low), (-0.3, -0.4), (-0.12, -0.46 - top), (0.2, -0.46 - top), (0.38, -0.38), (0.36, -0.28),
        (0.25, low + 0.04), (0.0, low + 0.01),
    ])  # fmt: skip
    _put(canvas, pose.silhouette(smooth(outline * (side, 1))), fabric)


def _draw_band(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A bandana, a turban or a head band; hair shows above the narrow ones."""
    low, thick = rng.uniform(-0.3, -0.22), rng.uniform(0.05, 0.2)
    wide, high = 0.245 + top * 0.4, -0.43 - top * 0.7
    if rng.random() < 0.5:
        half = [(0.0, max(low - thick, high)), (wide * 0.6, low - thick * 0.95), (wide, low - 0.06)]
    else:
        half = [(0.0, high - 0.04), (wide * 0.7, high + 0.01), (wide * 1.05, -0.34)]
    half += [(wide, low + 0.07), (wide * 0.6, low + 0.02), (0.0, low)]
    _put(canvas, pose.silhouette(_mirrored(half)), fabric)
    for _ in range(rng.integers(0, 4)):
        y = rng.uniform(low - 0.15, low)
        fold = smooth([(-wide * 0.9, y + 0.05), (0, y), (wide * 0.9, y + rng.uniform(0, 0.1))], closed=False)
        canvas.lit(canvas.cover(stroke(pose.silhouette(fold), 0.012)), np.full(3, 0.75))


def _draw_hood(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A hood, a veil or a headscarf: around the face and down to the shoulders."""
    open_, low = rng.uniform(0.2, 0.25), rng.uniform(-0.36, -0.27)
    wide = open_ + rng.uniform(0.06, 0.16)
    outer = [(0.0, -0.46 - top), (wide * 0.7, -0.42 - top), (wide, -0.25), (wide, 0.1), (wide + 0.1, 0.5)]
    inner = [(open_ - 0.02, 0.5), (open_ - 0.03, 0.2), (open_, -0.05), (open_ * 0.85, low + 0.08), (0.0, low)]
    half = smooth([*outer], closed=False), smooth([*inner], closed=False)
    right = np.concatenate(half)
    hood = np.concatenate([right, right[::-1] * (-1, 1)])
    _put(canvas, pose.silhouette(hood), fabric, 0.8)


def _draw_helmet(canvas: Canvas, pose: Pose, fabric: Array, top: float, rng: np.random.Generator) -> None:
    """A helmet or a mortarboard: hard, and shiny or flat on top."""
    low = _dome(canvas, pose, fabric, top, rng)
    if rng.random() < 0.5:
        y = -0.46 - top
        board = np.array([(-0.4, y), (0.0, y - 0.08), (0.4, y), (0.0, y + 0.08)])
        _put(canvas, pose.silhouette(board), np.clip(fabric * np.float32(0.9), 0, 1))
        return
    shine = canvas.blob(pose.silhouette([(rng.uniform(-0.15, 0.15), -0.42)])[0], (0.05, 0.03))
    canvas.paint(shine, (1, 1, 1), opacity=float(rng.uniform(0.2, 0.8)))
    edge = smooth([(-0.29, low + 0.03), (0, low), (0.29, low + 0.03)], closed=False)
    canvas.paint(canvas.cover(stroke(pose.silhouette(edge), 0.025)), rng.uniform(0, 1, 3), "hat")


KINDS: dict[Callable[[Canvas, Pose, Array, float, np.random.Generator], None], float] = {
    _draw_wool: 0.2,
    _draw_cap: 0.24,
    _draw_brim: 0.26,
    _draw_beret: 0.06,
    _draw_band: 0.12,
    _draw_hood: 0.06,
    _draw_helmet: 0.06,
}
"""Kinds of hats and how often each comes."""
