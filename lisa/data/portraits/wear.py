"""Clothes, necklaces, earrings, glasses and hats."""

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Points, ellipse, moved, noise, smooth, stroke
from lisa.data.portraits.head import lobe
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import EYE, Pose

METALS = ((0.83, 0.68, 0.32), (0.8, 0.8, 0.82), (0.9, 0.88, 0.84), (0.55, 0.42, 0.25))
COLLARS = ("crew", "vee", "shirt", "high", "straps")


def _fabric(canvas: Canvas, rng: np.random.Generator) -> Array:
    """Cloth (size, size, 3): plain, striped, checked or printed, with folds."""
    base = (
        rng.uniform(0.02, 0.95, 3) if rng.random() < 0.6 else np.full(3, rng.choice((0.05, 0.12, 0.9, 0.5)))
    )
    other = np.clip(base + rng.normal(0, 0.3, 3), 0, 1)
    turn, pitch = rng.uniform(0, np.pi), rng.uniform(60, 160)
    waves = np.sin((canvas.x * np.cos(turn) + canvas.y * np.sin(turn)) * pitch)
    cross = np.sin((canvas.x * np.sin(turn) - canvas.y * np.cos(turn)) * pitch)
    kind = rng.choice(4, p=(0.55, 0.17, 0.1, 0.18))
    blend = (
        0 * waves,
        waves > 0.3,
        0.5 * (waves > 0) + 0.5 * (cross > 0),
        noise(rng, canvas.size, (26, 26)) > 0.25,
    )[kind]
    folds = 1 + 0.22 * noise(rng, canvas.size, (5, 9)) + 0.06 * noise(rng, canvas.size, (64, 64))
    mixed = base + (other - base) * np.asarray(blend, np.float32)[..., None]
    return np.clip(mixed * folds[..., None], 0, 1).astype(np.float32)


def draw_cloth(canvas: Canvas, pose: Pose, skin: Array, rng: np.random.Generator, low: bool) -> None:
    """Shoulders and a collar; ``low`` keeps it off the neck so that a necklace shows."""
    weights = np.array((0.3, 0.22, 0.26, 0.1, 0.12)) * ((1, 1, 1, 0, 1) if low else (1, 1, 1, 1, 1))
    collar = COLLARS[rng.choice(5, p=weights / weights.sum())]
    fabric = _fabric(canvas, rng)
    neck = rng.uniform(0.165, 0.21)
    height = rng.uniform(0.27, 0.335)
    dip = {"crew": 0.04, "vee": 0.16, "shirt": 0.13, "high": -0.05, "straps": 0.12}[collar] + 0.02 * low
    slope = rng.uniform(0.0, 0.08)
    right = [
        (neck + 0.08, height + slope * 0.4),
        (0.42, height + slope),
        (0.62, height + slope + 0.07),
        (0.7, 0.8),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    if collar == "vee" or collar == "shirt":
        opening = [
            (-neck, height),
            (-neck * 0.5, height + dip * 0.5),
            (0, height + dip),
            (neck * 0.5, height + dip * 0.5),
            (neck, height),
        ]
    else:
        opening = [
            (-neck, height),
            (-neck * 0.75, height + dip * 0.7),
            (0, height + dip),
            (neck * 0.75, height + dip * 0.7),
            (neck, height),
        ]
    if collar == "straps":
        _draw_straps(canvas, pose, skin, fabric, (neck, height), rng)
        return
    body = pose.silhouette(
        np.concatenate(
            [smooth(opening, closed=False), smooth(right, closed=False), smooth(left, closed=False)]
        )
    )
    canvas.lit(canvas.cover(moved(body, 0, -0.012)), 0.72 * np.ones(3))
    canvas.paint(canvas.cover(body), fabric, "cloth")
    hem = stroke(pose.silhouette(smooth(opening, closed=False)), 0.012)
    canvas.lit(canvas.cover(hem), (0.8, 0.8, 0.8))
    if collar == "shirt":
        for side in (-1, 1):
            wing = [
                (side * (neck - 0.01), height - 0.045),
                (side * (neck + 0.075), height + 0.03),
                (side * 0.1, height + 0.115),
                (side * 0.035, height + dip * 0.8),
            ]
            canvas.lit(canvas.cover(moved(pose.silhouette(wing), 0.004, 0.008)), (0.7, 0.7, 0.7))
            canvas.paint(canvas.cover(pose.silhouette(wing)), np.clip(fabric * 1.08 + 0.03, 0, 1), "cloth")


def _draw_straps(
    canvas: Canvas,
    pose: Pose,
    skin: Array,
    fabric: Array,
    corner: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """A top with thin straps: most of the shoulder stays bare."""
    neck, height = corner
    bare = [(neck * 0.9, height - 0.06), (neck + 0.05, height), (0.42, height + 0.05), (0.5, 0.7)]
    shoulders = smooth([*bare, *((-x, y) for x, y in reversed(bare))])
    canvas.paint(canvas.cover(pose.silhouette(shoulders)), skin * 0.92, "neck")
    width = rng.uniform(0.025, 0.06)
    for side in (-1, 1):
        strap = [(side * (neck + 0.05), height - 0.02), (side * (neck + 0.03), height + 0.2)]
        canvas.paint(canvas.cover(stroke(pose.silhouette(strap), width)), fabric, "cloth")


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
    thick = max(float(rng.uniform(0.007, 0.014)), 1.6 / canvas.size)
    shapes = [stroke(line, thick)]
    if rng.random() < 0.5:
        shapes = [ellipse(point, (thick * 0.9, thick * 0.9), 10) for point in line[::2]] + shapes
    if rng.random() < 0.5:
        shapes.append(ellipse(moved(line[len(line) // 2], 0, 0.02), (0.013, 0.018)))
    chain = canvas.cover(*shapes)
    canvas.lit(canvas.cover(*[moved(shape, 0.002, 0.005) for shape in shapes]), (0.7, 0.7, 0.7))
    sparkle = metal * (1 + 0.35 * noise(rng, canvas.size, (80, 80)))[..., None]
    canvas.paint(chain, np.clip(sparkle, 0, 1), "neck_l")


def draw_earrings(canvas: Canvas, pose: Pose, sides: tuple[int, ...], rng: np.random.Generator) -> None:
    """The same stud, hoop or drop at each side."""
    metal = np.array(METALS[rng.integers(4)], np.float32) if rng.random() < 0.7 else rng.uniform(0.1, 0.9, 3)
    kind = rng.choice(("stud", "hoop", "drop", "long"), p=(0.25, 0.25, 0.25, 0.25))
    size = rng.uniform(1.0, 1.9)
    sparkle = np.clip(metal * (1 + 0.4 * noise(rng, canvas.size, (70, 70)))[..., None], 0, 1)
    for side in sides:
        at = lobe(pose, side)
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


def draw_glasses(canvas: Canvas, pose: Pose, dark: bool, rng: np.random.Generator) -> None:
    """Two lenses, a bridge and arms. The eyes and brows behind clear lenses keep their labels."""
    wide, high = rng.uniform(0.092, 0.108), rng.uniform(0.05, 0.08)
    squareness = rng.uniform(2.0, 5.0)
    frame = rng.uniform(0.0, 0.25, 3) if rng.random() < 0.75 else rng.uniform(0.2, 0.8, 3)
    thick = rng.uniform(0.006, 0.017)
    tint = rng.uniform(0.02, 0.2, 3)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([_power(np.cos(angle), 2 / squareness), _power(np.sin(angle), 2 / squareness)], axis=1)
    shapes: list[Points] = []
    for side in (-1, 1):
        lens = pose.surface(circle * (wide, high) + (side * 0.113, EYE[1] + 0.012), 0.03)
        rim = stroke(np.concatenate([lens, lens[:2]]), thick)
        glass = canvas.cover(lens)
        canvas.paint(glass, tint if dark else (0.9, 0.95, 1.0), opacity=0.93 if dark else 0.1)
        shine = pose.surface([(side * 0.113 - 0.03, EYE[1] - 0.02)], 0.03)[0]
        canvas.paint(canvas.blob(shine, (0.022, 0.012)), (1, 1, 1), opacity=float(rng.uniform(0.05, 0.4)))
        canvas.paint(canvas.cover(rim), frame)
        arm = [(side * (0.113 + wide), EYE[1] - 0.01), (side * 0.256, EYE[1])]
        bar = stroke(np.stack([pose.surface(arm[:1], 0.02)[0], pose.silhouette(arm[1:])[0]]), thick)
        canvas.paint(canvas.cover(bar), frame)
        shapes += [lens, rim, bar]
    bridge = stroke(
        pose.surface(
            smooth([(-0.113 + wide, EYE[1]), (0, EYE[1] - 0.012), (0.113 - wide, EYE[1])], closed=False), 0.03
        ),
        thick,
    )
    canvas.paint(canvas.cover(bridge), frame)
    eyes = () if dark else ("l_eye", "r_eye", "l_brow", "r_brow")
    canvas.claim(canvas.cover(*shapes, bridge), "eye_g", spare=eyes)


def _power(value: Points, exponent: float) -> Points:
    return np.sign(value) * np.abs(value) ** exponent


def draw_hat(canvas: Canvas, pose: Pose, look: Look, top: float, rng: np.random.Generator) -> None:
    """A woollen hat, a cap with a peak, or a hat with a wide brim."""
    fabric = _fabric(canvas, rng)
    center = pose.silhouette([(0.0, -0.35)])[0]
    fabric *= look.shading(canvas, (float(center[0]), float(center[1])), (0.36, 0.3))[..., None]
    kind = rng.choice(("wool", "cap", "brim"), p=(0.4, 0.3, 0.3))
    wide, high = 0.282 + 0.4 * min(top, 0.06), -0.5 - top * 0.6 - rng.uniform(0, 0.06)
    low = rng.uniform(-0.29, -0.235)
    rise = [
        (0.0, high),
        (wide * 0.6, high + 0.03),
        (wide * 0.97, -0.38),
        (wide, low + 0.03),
        (wide * 0.5, low),
    ]
    dome = [*rise, (0.0, low - 0.005), *((-x, y) for x, y in reversed(rise[1:]))]
    canvas.lit(canvas.cover(pose.silhouette(smooth(moved(dome, 0, 0.03)))), (0.66, 0.66, 0.66))
    canvas.paint(canvas.cover(pose.silhouette(smooth(dome))), fabric, "hat")
    if kind == "wool":
        rest = [(wide * 1.03, low - 0.05), (wide * 1.03, low + 0.03), (0.0, low + 0.012)]
        cuff = pose.silhouette(smooth([*rest, *((-x, y) for x, y in reversed(rest[:2]))]))
        canvas.paint(canvas.cover(cuff), np.clip(fabric * 0.82, 0, 1), "hat")
        return
    peak = _cap_peak(pose, low) if kind == "cap" else _brim(pose, low, rng.uniform(0.38, 0.52))
    canvas.lit(canvas.cover(moved(peak, 0, 0.02)), (0.6, 0.6, 0.6))
    canvas.paint(canvas.cover(peak), np.clip(fabric * 0.75, 0, 1), "hat")


def _cap_peak(pose: Pose, low: float) -> Points:
    """The peak of a cap, standing out over the forehead."""
    half = [(0.0, low - 0.05), (0.19, low - 0.015), (0.15, low + 0.045), (0.0, low + 0.062)]
    return pose.surface(smooth([*half, *((-x, y) for x, y in reversed(half[1:-1]))]), 0.06)


def _brim(pose: Pose, low: float, reach: float) -> Points:
    """A brim that goes ``reach`` to each side."""
    half = [
        (0.0, low - 0.06),
        (reach * 0.5, low - 0.05),
        (reach, low + 0.03),
        (reach * 0.5, low + 0.035),
        (0.0, low + 0.045),
    ]
    return pose.silhouette(smooth([*half, *((-x, y) for x, y in reversed(half[1:-1]))]))
