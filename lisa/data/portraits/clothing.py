"""Clothes on the shoulders: collars, lapels and ties, hoods, scarves, straps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lisa.data.portraits.canvas import Array, Canvas, Points, moved, one_of, smooth, stroke
from lisa.data.portraits.fabric import make_fabric
from lisa.data.portraits.pose import Pose

COLLARS = {
    "crew": 0.22, "vee": 0.15, "shirt": 0.17, "suit": 0.16, "high": 0.05, "straps": 0.12, "scarf": 0.03,
    "hood": 0.04, "wide": 0.06,
}  # fmt: skip
"""Kinds of clothes and how often each comes."""
DIPS = {"crew": 0.1, "vee": 0.19, "shirt": 0.16, "suit": 0.23, "high": -0.03, "scarf": 0.03, "hood": 0.1}
"""How far below the sides of the neck each opening reaches."""
COVERING = ("high", "scarf")
"""Clothes that leave no room for a necklace."""


@dataclass(frozen=True)
class _Shape:
    """What all clothes share, in head coordinates."""

    neck: float
    """Half the opening's width."""
    height: float
    """y of the opening's ends, at the sides of the neck."""
    dip: float
    slope: float
    """How steeply the shoulders fall."""
    turn: float
    """Radians by which the body leans, whatever the head does."""
    shift: float
    """How far the body stands to one side."""
    round: float
    """0 an opening with a point, 1 a round one."""

    def placed(self, pose: Pose, points: ArrayLike) -> Points:
        """Frame coordinates (N, 2) of points (N, 2) on the body, whose top moves least."""
        x, y = np.asarray(points, np.float64).T
        below = y - 0.2
        x, y = x + self.shift * np.clip(below * 5, 0, 1) - self.turn * below, y + self.turn * x
        return pose.silhouette(np.stack([x, y], axis=1))

    @property
    def opening(self) -> Points:
        """The neckline (N, 2), left to right."""
        side, depth = 0.5 + 0.25 * self.round, self.dip * (0.5 + 0.2 * self.round)
        left = [(-self.neck, self.height), (-self.neck * side, self.height + depth)]
        right = [(-x, y) for x, y in reversed(left)]
        return smooth([*left, (0, self.height + self.dip), *right], closed=False)

    @property
    def body(self) -> Points:
        """The outline (N, 2)."""
        right = [
            (self.neck + 0.05, self.height + self.slope * 0.2),
            (0.32, self.height + self.slope * 0.7),
            (0.46, self.height + self.slope + 0.02),
            (0.62, self.height + self.slope + 0.12),
            (0.7, 0.9),
        ]
        left = [(-x, y) for x, y in reversed(right)]
        return np.concatenate([self.opening, smooth(right, closed=False), smooth(left, closed=False)])


def draw_cloth(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator, low: bool) -> None:
    """Shoulders and a collar; bare ones have ``skin`` (size, size, 3), and ``low`` leaves a necklace room."""
    kind = one_of({name: COLLARS[name] for name in COLLARS if not (low and name in COVERING)}, rng)
    below = canvas.picture[int(0.75 * canvas.size) :]  # cloth of the colour of what is around it
    own = below[rng.integers(len(below)), rng.integers(canvas.size)] if rng.random() < 0.3 else None
    fabric = make_fabric(canvas, rng, own)
    shape = _Shape(
        neck=float(rng.uniform(0.15, 0.21)),
        height=float(rng.uniform(0.26, 0.335) if low else rng.uniform(0.16, 0.335)),
        dip=DIPS.get(kind, 0.12) * float(rng.uniform(0.7, 1.3)) + 0.02 * low,
        slope=float(rng.uniform(-0.24, -0.04) if rng.random() < 0.3 else rng.uniform(-0.04, 0.17)),
        turn=float(rng.normal(0, 0.13)),
        shift=float(rng.normal(0, 0.03)),
        round=0.0 if kind in ("vee", "shirt", "suit") else 1.0,
    )
    if kind in ("straps", "wide"):
        _draw_bare(canvas, pose, skin, fabric, shape, kind, rng)
        return
    if kind == "hood":
        hood = smooth([(-0.3, 0.4), (-0.34, 0.1), (-0.2, 0.02), (0.2, 0.02), (0.34, 0.1), (0.3, 0.4)])
        behind = canvas.cover(pose.silhouette(hood))
        spare = canvas.mask[behind.rows, behind.cols] != 0  # behind the neck and the hair
        behind.alpha[spare] = 0
        canvas.paint(behind, fabric * np.float32(0.75), "cloth")
    body = shape.placed(pose, shape.body)
    canvas.lit(canvas.cover(moved(body, 0, -0.012)), np.full(3, rng.uniform(0.6, 0.95)))
    canvas.paint(canvas.cover(body), fabric, "cloth")
    hem = stroke(shape.placed(pose, shape.opening), float(rng.uniform(0.006, 0.018)))
    canvas.lit(canvas.cover(hem), np.full(3, rng.uniform(0.7, 1.2)))
    if kind == "suit":
        _draw_suit(canvas, pose, fabric, shape, rng)
    elif kind == "shirt":
        _draw_wings(canvas, pose, fabric, shape, rng)
    elif kind == "scarf":
        _draw_scarf(canvas, pose, rng)


def _draw_bare(
    canvas: Canvas,
    pose: Pose,
    skin: Array,
    fabric: Array,
    shape: _Shape,
    kind: str,
    rng: np.random.Generator,
) -> None:
    """Bare shoulders with straps, or with cloth that begins below them."""
    neck, height = shape.neck, shape.height
    bare = [(neck * 0.9, height - 0.06), (neck + 0.05, height), (0.42, height + 0.05), (0.5, 0.7)]
    shoulders = smooth([*bare, *((-x, y) for x, y in reversed(bare))])
    canvas.paint(canvas.cover(shape.placed(pose, shoulders)), skin, "neck")
    width = rng.uniform(0.02, 0.09)
    if kind == "straps":
        shift = rng.uniform(0, 0.1)
        for side in (-1, 1):
            strap = [(side * (neck + 0.05 + shift), height - 0.02), (side * (neck + 0.03), height + 0.2)]
            canvas.paint(canvas.cover(stroke(shape.placed(pose, strap), width)), fabric, "cloth")
    edge = [(-0.7, height + 0.06), (-0.3, height + 0.1), (0, height + 0.13 + shape.dip * 0.3)]
    top = smooth([*edge, *((-x, y) for x, y in reversed(edge[:-1]))], closed=False)
    dress = np.concatenate([top, [(0.7, 0.9), (-0.7, 0.9)]])
    canvas.paint(canvas.cover(shape.placed(pose, dress)), fabric, "cloth")


def _draw_wings(canvas: Canvas, pose: Pose, fabric: Array, shape: _Shape, rng: np.random.Generator) -> None:
    """The two wings of a shirt's collar."""
    neck, height = shape.neck, shape.height
    bright = np.clip(fabric * np.float32(1.08) + np.float32(0.03), 0, 1)
    for side in (-1, 1):
        wing = np.array([
            (neck - 0.01, height - rng.uniform(0.02, 0.06)), (neck + 0.075, height + 0.03),
            (rng.uniform(0.06, 0.14), height + 0.115), (0.035, height + shape.dip * 0.8),
        ]) * (side, 1)  # fmt: skip
        outline = shape.placed(pose, wing)
        canvas.lit(canvas.cover(moved(outline, 0.004, 0.008)), np.full(3, 0.7))
        canvas.paint(canvas.cover(outline), bright, "cloth")


def _draw_suit(canvas: Canvas, pose: Pose, fabric: Array, shape: _Shape, rng: np.random.Generator) -> None:
    """A shirt in the opening, a tie or none, and lapels."""
    neck, height = shape.neck, shape.height
    shirt = np.full(3, rng.uniform(0.8, 1)) if rng.random() < 0.6 else rng.uniform(0.05, 1, 3)
    half = [(neck * 0.95, height - 0.01), (neck * 0.5, height + 0.1), (0.03, 0.62)]
    collar = rng.uniform(0.04, 0.12)
    front = [*half, *((-x, y) for x, y in reversed(half)), (0, height + collar)]
    canvas.paint(canvas.cover(shape.placed(pose, front)), shirt, "cloth")
    _draw_wings(canvas, pose, np.broadcast_to(shirt, canvas.picture.shape).astype(np.float32), shape, rng)
    if rng.random() < 0.6:
        wide, knot = rng.uniform(0.02, 0.04), height + collar
        tie = [(-wide, knot), (wide, knot), (wide * 0.7, knot + 0.05), (wide * 1.6, 0.7), (-wide * 1.6, 0.7)]
        tie.append((-wide * 0.7, knot + 0.05))
        if rng.random() < 0.2:  # a bow
            tie = [(-3 * wide, knot - 0.03), (0, knot), (3 * wide, knot - 0.03), (3 * wide, knot + 0.04)]
            tie += [(0, knot + 0.015), (-3 * wide, knot + 0.04)]
        canvas.paint(canvas.cover(shape.placed(pose, tie)), make_fabric(canvas, rng), "cloth")
    for side in (-1, 1):
        lapel = np.array(
            [(neck + 0.02, height - 0.03), (neck + 0.13, height + 0.09), (0.09, 0.66), (0.03, 0.62)]
        )
        outline = shape.placed(pose, lapel * (side, 1))
        canvas.lit(canvas.cover(moved(outline, -side * 0.006, 0.006)), np.full(3, 0.7))
        canvas.paint(canvas.cover(outline), np.clip(fabric * np.float32(1.12), 0, 1), "cloth")


def _draw_scarf(canvas: Canvas, pose: Pose, rng: np.random.Generator) -> None:
    """Turns of cloth around the neck."""
    fabric = make_fabric(canvas, rng)
    for turn in range(rng.integers(2, 4)):
        y = 0.27 + 0.045 * turn
        line = smooth(
            [(-0.21, y - 0.02), (-0.1, y + 0.035), (0.08, y + 0.05), (0.21, y - 0.01)], closed=False
        )
        roll = pose.silhouette(stroke(line, float(rng.uniform(0.06, 0.09))))
        canvas.lit(canvas.cover(moved(roll, 0, 0.012)), np.full(3, 0.7))
        canvas.paint(canvas.cover(roll), fabric * np.float32(rng.uniform(0.8, 1.1)), "cloth")
