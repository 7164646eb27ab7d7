"""Hair: what hangs behind the head, what covers the forehead, and the locks at the sides."""

import numpy as np
from numpy.typing import NDArray

from lisa.data.portraits.canvas import Canvas, Points, moved, smooth, stroke
from lisa.data.portraits.haircut import Haircut
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import DEPTH, Pose
from lisa.data.portraits.strands import Strands
from lisa.data.portraits.traits import Traits

SKULL = 0.237
"""Half the head's width, as in ``head.FACE``."""


def _wavy(points: Points, rng: np.random.Generator, amount: float) -> Points:
    """A spline through the points whose edge waves: locks, curls and single tufts."""
    curve = smooth(points, steps=10)
    center = curve.mean(0)
    phase = np.linspace(0, 1, len(curve), endpoint=False)
    offset = sum(
        strength * np.sin(2 * np.pi * (waves * phase + rng.random()))
        for waves, strength in ((5, 0.5), (11, 0.35), (23, 0.25))
    )
    offset = offset + rng.normal(0, 0.22, len(curve))
    return center + (curve - center) * (1 + amount * np.asarray(offset))[:, None]


def draw_back(canvas: Canvas, pose: Pose, cut: Haircut, hair: Strands, rng: np.random.Generator) -> None:
    """Hair behind head and neck; little of it shows when it is short."""
    if cut.bun:
        x, y, size = rng.normal(0, 0.07), -0.44 - cut.top, rng.uniform(0.05, 0.13)
        bun = np.array([(-1.0, 0), (-0.7, -0.9), (0.7, -0.9), (1.0, 0), (0, 1.0)]) * size + (x, y)
        hair.paint(canvas, pose.behind(_wavy(bun, rng, 0.03)), dim=0.9)
    if cut.tail:
        _draw_tail(canvas, pose, hair, rng)
    if not cut.long:
        nape = np.array([(-0.2, -0.3), (0.2, -0.3), (0.18, 0.1), (-0.18, 0.1)])
        hair.paint(canvas, pose.behind(nape), dim=0.7)
        return
    tip = cut.length
    heights = np.array((-0.3, -0.1, 0.1 + 0.2 * tip, 0.8 * tip + 0.02, tip))
    halves: list[Points] = []
    for side in (1, -1):
        wide = SKULL + cut.side * rng.uniform(0.5, 1.6)
        swing = rng.normal(0, 0.04)
        if rng.random() < 0.3:  # brought behind this shoulder
            swing -= rng.uniform(0.05, 0.2)
        flare = (cut.flare + rng.normal(0, 0.03)) * np.array((0, 0, 0.4, 1, 1))
        widths = wide * np.array((0.98, 1.04, 1, 1, 0.62)) + flare + swing * np.array((0, 0, 0.3, 1, 1))
        widths += rng.normal(0, 0.012 + 0.02 * cut.curl, 5)
        halves.append(np.column_stack([side * np.maximum(widths, 0.1), heights + rng.normal(0, 0.02, 5)]))
    high = -0.42 - cut.top * 0.7
    crown = [(-0.14 + cut.lean, high), (cut.lean, -0.43 - cut.top), (0.14 + cut.lean, high)]
    shape = np.concatenate([halves[0], [(0.0, tip * 0.97)], halves[1][::-1], crown])
    outline = pose.behind(_wavy(shape, rng, 0.02 + 0.035 * cut.curl))
    hair.paint(canvas, outline, dim=float(rng.uniform(0.3, 0.95)))


def _draw_tail(canvas: Canvas, pose: Pose, hair: Strands, rng: np.random.Generator) -> None:
    """A pony tail that comes out from behind the neck at one side."""
    side, wide, low = rng.choice((-1, 1)), rng.uniform(0.06, 0.13), rng.uniform(0.25, 0.6)
    line = [
        (0.16, -0.25),
        (0.25, -0.1),
        (0.25 + rng.normal(0, 0.04), 0.12),
        (0.22 + rng.normal(0, 0.05), low),
    ]
    curve = smooth(np.array(line) * (side, 1), closed=False)
    widths = wide * np.interp(np.linspace(0, 1, len(curve)), (0, 0.4, 1), (0.8, 1.2, 0.4))
    hair.paint(canvas, pose.behind(stroke(curve, widths)), dim=0.85)


def _hairline(cut: Haircut, x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """y of the hair's lower edge over the forehead at each x."""
    arch = -0.345 + rng.normal(0, 0.015) + rng.uniform(1.7, 2.6) * x**2
    if cut.front == "open":
        return arch + 0.01 * np.sin(x * 40 + rng.uniform(0, 6)) + rng.normal(0, 0.004, len(x))
    if cut.front == "back":
        return arch - 0.012 + rng.normal(0, 0.002, len(x))
    if cut.front == "receding":
        return arch - 0.035 + 0.05 * np.exp(-((x / 0.05) ** 2)) - rng.uniform(0, 0.05) * (np.abs(x) > 0.08)
    if cut.front == "fringe":
        tips = rng.uniform(-0.27, -0.165)
        tufts = rng.uniform(0.004, 0.035) * rng.uniform(-1, 1, len(x))
        return tips + 0.5 * x**2 + rng.normal(0, 0.15) * x + tufts
    away = (x - cut.part) * (1 if cut.part < 0 else -1)
    if cut.front == "parted":
        away = np.abs(x - cut.part)
    fall = np.where(away > 0, rng.uniform(0.3, 0.5) * np.sqrt(np.abs(away)), 0.4 * np.abs(away))
    return np.minimum(-0.375 + fall, rng.uniform(-0.2, -0.12)) + rng.normal(0, 0.004, len(x))


def _inner(edge: Points, ends: float, lower: float) -> Points:
    """The cap's edge along the face, from ear to ear, ``lower`` over the forehead and in at the temples."""
    temple = np.array([(0.225 - 0.6 * lower, ends), (0.214 - 0.6 * lower, -0.19)])
    return np.concatenate([temple, moved(edge, 0, lower), temple[::-1] * (-1, 1)])


def draw_front(
    canvas: Canvas,
    pose: Pose,
    look: Look,
    cut: Haircut,
    traits: Traits,
    hair: Strands,
    rng: np.random.Generator,
) -> None:
    """Hair over the skull and the forehead's edge, and locks that cover the ears that should not show."""
    across = np.linspace(0.2, -0.2, 28)
    edge = np.column_stack([across, _hairline(cut, across, rng)])
    wide, ends = SKULL + cut.side, -0.12
    full = rng.random()  # 0 a pointed top, 1 a round one
    shoulder, bend = -0.36 - cut.top * (0.35 + 0.25 * full), -0.42 - cut.top * (0.8 + 0.1 * full)
    half = np.array([(wide, -0.22), (wide * (0.86 + 0.06 * full), shoulder), (0.11 + 0.05 * full, bend)])
    back = np.array((-0.3 * DEPTH * pose.turn, 0.0))  # seen beyond the near side of a turned head
    lean = np.array([(0.0, 0.0), (0.5 * cut.lean, 0.0), (cut.lean, 0.0)])
    ears = [(wide - 0.004, ends), (-wide + 0.004, ends)]
    top = (cut.lean + 0.5 * back[0], -0.43 - cut.top)
    left, right = half * (-1, 1) + lean + np.minimum(back, 0), half + lean + np.maximum(back, 0)
    outer = np.array([ears[1], *left, top, *right[::-1], ears[0]])
    outer[1:-1] += rng.normal(0, 0.006 + 0.014 * cut.curl, (len(outer) - 2, 2))
    dome = smooth(outer, closed=False, steps=8)
    dome += rng.normal(0, 0.0015 + 0.006 * cut.curl, dome.shape)
    cap = np.concatenate([dome, _inner(edge, ends, 0)])
    hair.shade(canvas, pose.silhouette(moved(cap * (0.97, 1), 0, 0.014)), float(rng.uniform(0.65, 1)))
    if rng.random() < 0.2:  # a lamp above: the forehead's edge lies in the shadow of the hair
        deep = moved(cap * (rng.uniform(0.86, 0.97), 1), -0.03 * look.light[0], rng.uniform(0.015, 0.05))
        hair.shade(canvas, pose.silhouette(deep), float(rng.uniform(0.35, 0.85)))
    if cut.front != "fringe" and rng.random() < 0.5:  # roots, through which the skin shines
        roots = np.concatenate([dome, _inner(edge, ends, float(rng.uniform(0.005, 0.035)))])
        hair.paint(canvas, pose.silhouette(roots), opacity=float(rng.uniform(0.15, 0.6)))
    hair.paint(canvas, pose.silhouette(cap), opacity=1 - cut.thin)
    if cut.front in ("parted", "swept") and rng.random() < 0.5:
        parting = pose.silhouette([(cut.part, -0.375), (cut.part * 1.1, -0.41 - cut.top * 0.5)])
        canvas.paint(
            canvas.cover(stroke(parting, float(rng.uniform(0.004, 0.01)))), (0.75, 0.6, 0.5), opacity=0.4
        )
    for side, shows in ((1, traits.left_ear), (-1, traits.right_ear)):
        if cut.long and not shows:
            _draw_lock(canvas, pose, cut, hair, side, rng)
        elif not cut.long:
            _draw_sideburn(canvas, pose, cut, hair, side, shows, rng)
        if shows and rng.random() < 0.4:
            _draw_tuck(canvas, pose, cut, hair, side, rng)
    _draw_strays(canvas, pose, hair, cut, rng)


def _draw_lock(
    canvas: Canvas, pose: Pose, cut: Haircut, hair: Strands, side: int, rng: np.random.Generator
) -> None:
    """Long hair that falls over an ear, down in front of the shoulder or behind it."""
    cover, wide, tip = rng.uniform(-0.025, 0.05), SKULL + cut.side * rng.uniform(0.7, 1.2), cut.length
    bend = rng.normal(0, 0.03)
    shape = np.array([
        (0.18, -0.34), (0.218 - cover, -0.18), (0.22 - cover, 0.0), (0.215 - cover * 0.5 + bend, 0.14),
        (0.19 + bend + cut.flare * 0.3, tip * 0.8 + 0.05), (0.24 + cut.flare * 0.7 + bend, tip + 0.04),
        (wide + cut.flare, tip * 0.75), (wide + cut.flare * 0.4, 0.1), (wide * 1.02, -0.12),
        (wide * 0.9, -0.34),
    ])  # fmt: skip
    shape[1:-1] += rng.normal(0, 0.006 + 0.012 * cut.curl, (len(shape) - 2, 2))
    lock = pose.silhouette(_wavy(shape * (side, 1), rng, 0.012 + 0.03 * cut.curl))
    hair.shade(canvas, moved(lock, -side * 0.008, 0.004), float(rng.uniform(0.6, 1)))
    hair.paint(canvas, lock)


def _draw_tuck(
    canvas: Canvas, pose: Pose, cut: Haircut, hair: Strands, side: int, rng: np.random.Generator
) -> None:
    """Hair that falls over the upper part of an ear."""
    wide, low = SKULL + cut.side, rng.uniform(-0.125, -0.05)
    shape = np.array([
        (0.18, -0.32), (0.212, -0.2), (0.222, low - 0.02), (0.26, low + rng.normal(0, 0.01)),
        (max(wide, 0.29), low - 0.02), (max(wide, 0.27), -0.25),
    ])  # fmt: skip
    hair.paint(canvas, pose.silhouette(_wavy(shape * (side, 1), rng, 0.015 + 0.02 * cut.curl)))


def _draw_sideburn(
    canvas: Canvas,
    pose: Pose,
    cut: Haircut,
    hair: Strands,
    side: int,
    shows: bool,
    rng: np.random.Generator,
) -> None:
    """Short hair in front of the ear, and over it where the ear should not show."""
    wide = SKULL + cut.side
    low = rng.uniform(-0.11, -0.02) if shows else 0.08
    out = wide if not shows else SKULL
    outer = SKULL + 0.05 * (not shows)
    shape = np.array(
        [(0.208, -0.26), (0.222, -0.12), (0.22, low), (outer, low), (max(outer, out), -0.12), (wide, -0.26)]
    )
    hair.paint(canvas, pose.silhouette(_wavy(shape * (side, 1), rng, 0.02)), opacity=1 - 0.7 * cut.thin)


def _draw_strays(canvas: Canvas, pose: Pose, hair: Strands, cut: Haircut, rng: np.random.Generator) -> None:
    """Single hairs thinner than a pixel around the head, and some over the face: in the picture only."""
    lines: list[Points] = []
    for _ in range(rng.integers(2, 10 + int(20 * cut.frizz))):
        angle = rng.uniform(np.pi * 0.95, 2.05 * np.pi)
        radius = (SKULL + cut.side * 0.9, 0.43 + cut.top * 0.9)
        steps = np.linspace(0, rng.uniform(0.15, 0.5), 8)
        ring = 1 + steps * rng.uniform(0.02, 0.22)
        line = np.stack(
            [np.cos(angle + steps) * radius[0] * ring, np.sin(angle + steps) * radius[1] * ring], 1
        )
        lines.append(stroke(pose.silhouette(line), 0.0025))
    if cut.long and rng.random() < 0.35:  # a wisp before the face
        x, end = rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.2)
        wisp = smooth(
            [(x * 0.6, -0.36), (x, -0.2), (x * 1.25, (end - 0.2) / 2), (x * 1.1, end)], closed=False
        )
        lines.append(stroke(pose.silhouette(wisp), np.linspace(0.012, 0.002, len(wisp))))
    canvas.paint(canvas.cover(*lines), hair.color, opacity=float(rng.uniform(0.4, 0.8)))
