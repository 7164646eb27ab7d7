"""Eyes, brows, nose and mouth."""

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, Patch, Points, ellipse, moved, smooth, stroke, within
from lisa.data.portraits.look import Look
from lisa.data.portraits.pose import EYE, MOUTH_Y, Pose

WHITE = np.array((0.93, 0.91, 0.9), np.float32)
TEETH = np.array((0.95, 0.93, 0.88), np.float32)
DARK = np.array((0.08, 0.05, 0.05), np.float32)


def draw_eyes(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator, labelled: bool) -> None:
    """Two eyes that look the same way; ``labelled`` False leaves the mask alone (behind dark glasses)."""
    wide, opening = rng.uniform(0.040, 0.052), rng.uniform(0.009, 0.025)
    slant, gaze = rng.normal(0, 0.004), rng.normal(0, 0.008, 2)
    for side in (-1, 1):
        _draw_eye(canvas, pose, look, side, (wide, opening, slant), gaze, labelled)


def _draw_eye(
    canvas: Canvas,
    pose: Pose,
    look: Look,
    side: int,
    shape: tuple[float, float, float],
    gaze: Array,
    labelled: bool,
) -> None:
    wide, opening, slant = shape
    x, y = side * EYE[0], EYE[1]
    inner, outer = (x - side * wide, y + 0.004), (x + side * wide, y + slant)
    upper = [(x - side * wide * 0.4, y - opening * 0.9), (x + side * wide * 0.35, y - opening)]
    lower = [(x + side * wide * 0.4, y + opening * 0.62), (x - side * wide * 0.35, y + opening * 0.62)]
    white = canvas.cover(pose.surface(smooth([inner, *upper, outer, *lower])))
    canvas.paint(white, WHITE * (0.35 + 0.6 * float(look.skin.max())))
    if labelled:  # people who label masks leave out the lashes, and with them the eyeball's edge
        middle = np.array((x, y - 0.15 * opening))
        inside = middle + (smooth([inner, *upper, outer, *lower]) - middle) * (0.99, 0.97)
        canvas.claim(canvas.cover(pose.surface(inside)), _eye(side))
    center = np.array((x + gaze[0], y - opening * 0.12 + np.clip(gaze[1], -0.004, 0.004)))
    radius = 0.021
    for color, size in ((look.iris * 0.6, radius), (look.iris * 1.15, radius * 0.82), (DARK, radius * 0.42)):
        canvas.paint(within(white, canvas.cover(pose.surface(ellipse(center, (size, size))))), color)
    glint = pose.surface(ellipse(center - (0.006, 0.006), (0.004, 0.004)), 0.01)
    canvas.paint(within(white, canvas.cover(glint)), (1, 1, 1), opacity=0.9)
    lid = pose.surface(smooth([inner, *upper, outer], closed=False))
    lash = 0.005 + 0.011 * look.makeup
    canvas.paint(canvas.cover(stroke(moved(lid, 0, -0.3 * lash), lash)), DARK, opacity=0.85)
    if look.makeup > 0.5:  # a line below the eye, and one that runs out beyond its corner
        under = smooth([inner, *reversed(lower), outer], closed=False)
        wing = [outer, (x + side * (wide + 0.02), y + slant - 0.01)]
        lines = (stroke(pose.surface(under), 0.004), stroke(pose.surface(wing), 0.005))
        canvas.paint(canvas.cover(*lines), DARK, opacity=0.8 * look.makeup)
    canvas.paint(canvas.cover(stroke(moved(lid, 0, -0.014), 0.005)), look.skin * 0.6, opacity=0.55)
    canvas.paint(
        canvas.blob(pose.surface([(x, y + 0.035)])[0], (0.03, 0.007)),
        look.skin * 0.7,
        opacity=0.35 * look.age,
    )


def _eye(side: int) -> str:
    """Left and right are the person's: side 1, the picture's right, is the left eye."""
    return "l_eye" if side == 1 else "r_eye"


def draw_brows(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator) -> None:
    """Brows from the nose outward: height, arch, weight and frown vary.

    Their labels reach around the hairs: people who label masks outline a brow, they do not trace it.
    """
    height, arch, weight = rng.normal(-0.174, 0.012), rng.uniform(0.0, 0.027), rng.uniform(0.022, 0.052)
    frown = rng.normal(0, 0.007)
    color = look.hair * 0.8 if look.hair.mean() < 0.5 else look.hair * 0.62
    for side in (-1, 1):
        line = smooth(
            [
                (side * 0.05, height + 0.006 + frown),
                (side * 0.102, height - arch * 0.5),
                (side * 0.158, height - arch),
                (side * 0.217, height + 0.026),
            ],
            closed=False,
        )
        taper = weight * np.interp(np.linspace(0, 1, len(line)), (0, 0.15, 0.6, 1), (0.75, 1, 0.8, 0.2))
        canvas.paint(canvas.cover(stroke(pose.surface(line), taper)), color, opacity=0.82)
        whole = canvas.cover(stroke(pose.surface(line), np.maximum(taper * 1.06 + 0.002, 0.4 * weight)))
        canvas.claim(whole, "l_brow" if side == 1 else "r_brow")
        hairs = noise_along(rng, len(line), 0.004)
        canvas.paint(
            canvas.cover(stroke(pose.surface(moved(line, 0, -0.003)) + hairs, taper * 0.3)),
            color * 0.7,
            opacity=0.6,
        )


def noise_along(rng: np.random.Generator, count: int, amount: float) -> Points:
    """Small offsets (count, 2) for the points of a line."""
    return rng.normal(0, amount / 2, (count, 2))


def draw_nose(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator) -> None:
    """Claims the nose and draws its nostrils: the light on its relief is all that shows the rest."""
    wide, tip = rng.uniform(0.063, 0.098), rng.uniform(0.04, 0.066)
    bridge = rng.uniform(0.019, 0.038)
    profile = [
        (bridge * 0.9, -0.133),
        (bridge, -0.08),
        (bridge * 1.2 + 0.012, -0.01),
        (wide, tip - 0.034),
        (wide * 0.93, tip - 0.004),
        (0.03, tip + 0.012),
    ]
    lifts = np.array([0.005, 0.015, 0.045, 0.03, 0.025, 0.05])
    points = np.array([*profile, (0, tip + 0.02), *((-x, y) for x, y in reversed(profile))])
    lift = np.concatenate([lifts, [0.055], lifts[::-1]])
    outline = smooth(np.column_stack([points, lift]))
    nose = canvas.cover(pose.surface(outline[:, :2], outline[:, 2]))
    canvas.claim(nose, "nose")
    shown = float(rng.beta(1.2, 1.5))
    for side in (-1, 1):
        wing = [(wide, tip - 0.035), (wide + 0.003, tip - 0.012), (wide * 0.82, tip + 0.006)]
        line = pose.surface(smooth(np.array(wing) * (side, 1), closed=False), 0.03)
        canvas.paint(canvas.cover(stroke(line, 0.008)), look.skin * 0.55, opacity=0.5 * shown)
        nostril = pose.surface([(side * wide * 0.46, tip + 0.004)], 0.045)[0]
        radii = (0.009 * pose.scale, rng.uniform(0.003, 0.007) * pose.scale)
        canvas.paint(canvas.blob(nostril, radii), look.skin * 0.2, opacity=0.35 + 0.6 * shown)
    below = pose.surface([(0.0, tip + 0.02)], 0.02)[0]
    canvas.paint(canvas.blob(below, (0.035, 0.008)), look.skin * 0.6, opacity=0.45 * shown)


def draw_mouth(canvas: Canvas, pose: Pose, look: Look, rng: np.random.Generator, is_open: bool) -> None:
    """Lips with or without teeth and the dark between them; corners rise in a smile."""
    smile = rng.normal(0.35, 0.5) if not is_open else rng.normal(0.8, 0.4)
    wide = rng.uniform(0.094, 0.122) + 0.016 * np.clip(smile, -0.5, 1.5)
    gap = rng.uniform(0.01, 0.065) if is_open else 0.0
    thin, full = rng.uniform(0.017, 0.047), rng.uniform(0.022, 0.06)
    y = MOUTH_Y + rng.normal(0, 0.006) - gap * 0.3
    corner = y - 0.014 * smile
    left, right = (-wide, corner), (wide, corner)

    def arc(middle: float, flat: float) -> list[tuple[float, float]]:
        edge = corner + (middle - corner) * flat
        return [(-wide * 0.55, edge), (0.0, middle), (wide * 0.55, edge)]

    def lip(
        upper: list[tuple[float, float]], lower: list[tuple[float, float]], name: str, color: Array
    ) -> None:
        shape = smooth([left, *upper, right, *reversed(lower)])
        canvas.paint(canvas.cover(pose.surface(shape, 0.02)), color)
        # People who label masks draw both lips a little higher than their colour is.
        canvas.claim(canvas.cover(pose.surface(moved(shape, 0, -0.004), 0.02)), name)

    upper_inner, lower_inner = arc(y - gap * 0.25, 0.75), arc(y + gap, 0.8)
    peak, dent, edge = y - thin - gap * 0.3, y - thin * 0.78 - gap * 0.3, y - thin * 0.75
    bow = [(-wide * 0.5, edge), (-wide * 0.18, peak), (0.0, dent), (wide * 0.18, peak), (wide * 0.5, edge)]
    bow = [(x, v - 0.006 * smile * (abs(x) / wide)) for x, v in bow]
    lip(bow, upper_inner, "u_lip", look.lips * 0.86)
    lip(lower_inner, arc(y + gap + full, 0.72), "l_lip", look.lips)
    shine = pose.surface([(rng.normal(0, 0.01), y + gap + full * 0.5)], 0.02)[0]
    canvas.paint(
        canvas.blob(shine, (0.03, 0.006)),
        np.minimum(look.lips * 1.5 + 0.1, 1),
        opacity=0.2 + 0.3 * look.makeup,
    )
    if is_open:
        inner, outer = (-0.9 * wide, corner), (0.9 * wide, corner)
        inside = canvas.cover(
            pose.surface(smooth([inner, *upper_inner, outer, *reversed(lower_inner)]), 0.015)
        )
        canvas.paint(inside, (0.2, 0.07, 0.07), "mouth")
        _draw_teeth(canvas, pose, inside, (wide, y, gap), rng)
    else:
        line = pose.surface(smooth([left, *upper_inner, right], closed=False), 0.02)
        canvas.paint(canvas.cover(stroke(line, 0.006)), look.lips * 0.35, opacity=0.8)


def _draw_teeth(
    canvas: Canvas, pose: Pose, inside: Patch, shape: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Upper teeth (mostly) and a tongue (sometimes), inside of the open mouth."""
    wide, y, gap = shape
    if rng.random() < 0.3:
        tongue = pose.surface(ellipse((0, y + gap * 0.9), (wide * 0.5, gap * 0.45)), 0.01)
        canvas.paint(within(inside, canvas.cover(tongue)), (0.62, 0.28, 0.28))
    if rng.random() < 0.88:
        bite = y + gap * rng.uniform(0.3, 0.95)
        teeth = pose.surface(
            smooth(
                [(-wide * 0.85, y - 0.03), (wide * 0.85, y - 0.03), (wide * 0.6, bite), (-wide * 0.6, bite)]
            ),
            0.015,
        )
        canvas.paint(within(inside, canvas.cover(teeth)), TEETH * rng.uniform(0.8, 1.0))
        for x in np.linspace(-0.05, 0.05, 7):
            seam = pose.surface([(x, y - 0.02), (x, bite - 0.002)], 0.015)
            canvas.paint(within(inside, canvas.cover(stroke(seam, 0.0025))), TEETH * 0.6, opacity=0.35)
