"""Hair: what hangs behind the head, what covers the forehead, and the locks at the sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lisa.data.portraits.canvas import Array, Canvas, Points, moved, noise, smooth, stroke
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import Pose
from lisa.data.portraits.traits import Traits

SKULL = 0.257
"""Half the head's width, as in ``head.FACE``."""
FRONTS = ("open", "fringe", "swept", "parted", "receding")


@dataclass(frozen=True)
class Style:
    """One haircut, in head coordinates."""

    front: str
    """How the forehead is framed: one of FRONTS."""
    length: float
    """y of the tips; short hair ends above the ear lobes, at about 0."""
    top: float
    """How far it stands above the skull."""
    side: float
    """How far it stands out beside the temples."""
    flare: float
    """How much wider long hair gets towards its tips."""
    part: float
    """x of the parting."""
    curl: float
    """0 straight, 1 curly: waves of the outline and the strands."""
    bun: bool

    @property
    def long(self) -> bool:
        """Hair that hangs beside the neck."""
        return self.length > 0.1


def draw_style(rng: np.random.Generator, traits: Traits) -> Style:
    """A random haircut; hidden ears need hair that is long enough to hide them."""
    covers = not (traits.left_ear and traits.right_ear)
    long = rng.random() < (0.88 if covers else 0.3)
    short_fronts, long_fronts = (0.62, 0.1, 0.14, 0.02, 0.12), (0.24, 0.16, 0.3, 0.3, 0.0)
    return Style(
        front=FRONTS[rng.choice(5, p=long_fronts if long else short_fronts)],
        length=float(rng.uniform(0.2, 0.75)) if long else float(rng.uniform(-0.03, 0.03)),
        top=float(rng.uniform(0.06, 0.17) if long else rng.uniform(0.035, 0.13)),
        side=float(rng.uniform(0.04, 0.17) if long else rng.uniform(0.008, 0.045)),
        flare=float(rng.normal(0.07, 0.08)),
        part=float(rng.uniform(-0.13, 0.13)),
        curl=float(rng.beta(1, 2.2)),
        bun=not long and rng.random() < 0.12,
    )


def hair_texture(canvas: Canvas, pose: Pose, look: Look, style: Style, rng: np.random.Generator) -> Array:
    """Strands (size, size, 3) that fall from the crown: dark and light threads, and a band of shine."""
    crown = pose.silhouette([(style.part, -0.5)])[0]
    x, y = canvas.x - crown[0], np.maximum(canvas.y - crown[1], 0.004)
    waves = noise(rng, canvas.size, (7, 7)) * (0.03 + 0.16 * style.curl)
    waves += style.curl * 0.05 * np.sin(canvas.y * rng.uniform(30, 60) + noise(rng, canvas.size, (4, 4)) * 4)
    flow = x / np.sqrt(y + 0.05) + waves
    threads = sum(
        _threads(flow, count, rng) * strength for count, strength in ((18, 0.16), (70, 0.18), (220, 0.14))
    )
    distance = np.hypot(x, y)
    band = np.exp(-(((distance - rng.uniform(0.13, 0.25)) / 0.06) ** 2)) * rng.uniform(0.1, 0.5)
    center = pose.silhouette([(0.0, -0.15)])[0]
    shade = look.shading(canvas, (float(center[0]), float(center[1])), (0.45, 0.5))
    light = shade * (0.92 + threads) + band * (0.5 + threads)
    return np.clip(look.hair * light[..., None] + (band * 0.07)[..., None], 0, 1)


def _threads(flow: Array, count: int, rng: np.random.Generator) -> Array:
    """Noise in -1..1 along ``flow``, ``count`` threads per unit."""
    table = rng.uniform(-1, 1, 1024).astype(np.float32)
    place = flow * count
    floor = np.floor(place).astype(np.int64)
    blend = place - floor
    return table[floor & 1023] * (1 - blend) + table[(floor + 1) & 1023] * blend


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


def draw_back(canvas: Canvas, pose: Pose, style: Style, texture: Array, rng: np.random.Generator) -> None:
    """Hair behind head and neck; little of it shows when it is short."""
    wide, tip = SKULL + style.side, style.length
    if style.bun:
        x, y = rng.normal(0, 0.05), -0.46 - style.top
        bun = np.array([(x - 0.1, y), (x - 0.07, y - 0.09), (x + 0.07, y - 0.09), (x + 0.1, y), (x, y + 0.1)])
        canvas.paint(canvas.cover(pose.silhouette(_wavy(bun, rng, 0.03))), texture * 0.9, "hair")
    if not style.long:
        nape = np.array([(-0.2, -0.3), (0.2, -0.3), (0.18, 0.1), (-0.18, 0.1)])
        canvas.paint(canvas.cover(pose.silhouette(nape)), texture * 0.7, "hair")
        return
    sway = rng.normal(0, 0.03, 2)
    heights = (-0.3, -0.1, 0.1 + 0.2 * tip, 0.8 * tip + 0.02, tip)
    flare = style.flare * np.array((0, 0, 0.4, 1, 1))
    widths = wide * np.array((0.98, 1.04, 1, 1, 0.62)) + flare
    swing = np.array((0, 0, 0, 1, 1))
    right = list(zip(widths + sway[0] * swing, heights, strict=True))
    left = list(zip(-widths + sway[1] * swing, heights, strict=True))[::-1]
    crown = [(-0.14, -0.42 - style.top * 0.7), (0.0, -0.43 - style.top), (0.14, -0.42 - style.top * 0.7)]
    shape = np.array([*right, (0.0, tip * 0.97), *left, *crown])
    canvas.paint(
        canvas.cover(pose.silhouette(_wavy(shape, rng, 0.02 + 0.035 * style.curl))), texture * 0.82, "hair"
    )


def _hairline(style: Style, x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """y of the hair's lower edge over the forehead at each x."""
    arch = -0.345 + 2.3 * x**2
    if style.front == "open":
        return arch + 0.01 * np.sin(x * 40 + rng.uniform(0, 6)) + rng.normal(0, 0.004, len(x))
    if style.front == "receding":
        return arch - 0.035 + 0.05 * np.exp(-((x / 0.05) ** 2)) - 0.02 * (np.abs(x) > 0.08)
    if style.front == "fringe":
        tips = rng.uniform(-0.24, -0.175)
        return tips + 0.5 * x**2 + rng.uniform(0.004, 0.022) * rng.uniform(-1, 1, len(x))
    away = (x - style.part) * (1 if style.part < 0 else -1)
    if style.front == "parted":
        away = np.abs(x - style.part)
    fall = np.where(away > 0, 0.75 * np.sqrt(np.abs(away)) * 0.55, 0.4 * np.abs(away))
    return np.minimum(-0.375 + fall, -0.13) + rng.normal(0, 0.004, len(x))


def draw_front(
    canvas: Canvas, pose: Pose, style: Style, traits: Traits, texture: Array, rng: np.random.Generator
) -> None:
    """Hair over the skull and the forehead's edge, and locks that cover the ears that should not show."""
    across = np.linspace(0.22, -0.22, 28)
    edge = np.column_stack([across, _hairline(style, across, rng)])
    wide, ends = SKULL + style.side, -0.12
    shoulder, bend = -0.36 - style.top * 0.35, -0.42 - style.top * 0.8
    half = [(0.11, bend), (wide * 0.86, shoulder), (wide, -0.22), (wide - 0.004, ends)]
    outer = [*((-x, y) for x, y in reversed(half)), (0.0, -0.43 - style.top), *half]
    dome = smooth(np.array(outer), closed=False, steps=8)
    dome += rng.normal(0, 0.0015 + 0.004 * style.curl, dome.shape)
    inner = np.concatenate([[(0.247, ends), (0.235, -0.19)], edge, [(-0.235, -0.19), (-0.247, ends)]])
    cap = canvas.cover(pose.silhouette(np.concatenate([dome, inner])))
    shadow = pose.silhouette(moved(np.concatenate([dome, inner]) * (0.97, 1), 0, 0.014))
    canvas.lit(canvas.cover(shadow), 0.78 * np.ones(3))
    canvas.paint(cap, texture, "hair")
    for side, shows in ((1, traits.left_ear), (-1, traits.right_ear)):
        if style.long and not shows:
            _draw_lock(canvas, pose, style, texture, side, rng)
        elif not style.long:
            _draw_sideburn(canvas, pose, style, texture, side, shows, rng)
    _draw_strays(canvas, pose, texture, style, rng)


def _draw_lock(
    canvas: Canvas, pose: Pose, style: Style, texture: Array, side: int, rng: np.random.Generator
) -> None:
    """Long hair that falls over an ear, down in front of the shoulder."""
    cover, wide, tip = rng.uniform(-0.01, 0.04), SKULL + style.side, style.length
    bend = rng.normal(0, 0.02)
    shape = [
        (0.19, -0.33), (0.235 - cover, -0.18), (0.238 - cover, 0.0), (0.235 - cover * 0.5 + bend, 0.14),
        (0.215 + bend + style.flare * 0.3, tip * 0.8 + 0.05), (0.24 + style.flare * 0.7 + bend, tip + 0.04),
        (wide + style.flare, tip * 0.75), (wide + style.flare * 0.4, 0.1), (wide * 1.02, -0.12),
        (wide * 0.9, -0.34),
    ]  # fmt: skip
    lock = pose.silhouette(_wavy(np.array(shape) * (side, 1), rng, 0.012 + 0.03 * style.curl))
    canvas.lit(canvas.cover(moved(lock, -side * 0.008, 0.004)), 0.75 * np.ones(3))
    canvas.paint(canvas.cover(lock), texture, "hair")


def _draw_sideburn(
    canvas: Canvas, pose: Pose, style: Style, texture: Array, side: int, shows: bool, rng: np.random.Generator
) -> None:
    """Short hair in front of the ear, and over it where the ear should not show."""
    wide = SKULL + style.side
    low = rng.uniform(-0.11, -0.02) if shows else 0.08
    out = wide if not shows else SKULL
    outer = SKULL + 0.05 * (not shows)
    shape = np.array(
        [(0.23, -0.26), (0.245, -0.12), (0.243, low), (outer, low), (max(outer, out), -0.12), (wide, -0.26)]
    )
    canvas.paint(canvas.cover(pose.silhouette(_wavy(shape * (side, 1), rng, 0.02))), texture, "hair")


def _draw_strays(canvas: Canvas, pose: Pose, texture: Array, style: Style, rng: np.random.Generator) -> None:
    """Single hairs thinner than a pixel around the head: in the picture only."""
    for _ in range(rng.integers(4, 22)):
        angle = rng.uniform(np.pi * 0.95, 2.05 * np.pi)
        radius = (SKULL + style.side * 0.9, 0.43 + style.top * 0.9)
        steps = np.linspace(0, rng.uniform(0.15, 0.5), 8)
        ring = 1 + steps * rng.uniform(0.02, 0.22)
        line = np.stack(
            [np.cos(angle + steps) * radius[0] * ring, np.sin(angle + steps) * radius[1] * ring], 1
        )
        canvas.paint(canvas.cover(stroke(pose.silhouette(line), 0.0022)), texture, opacity=0.7)
