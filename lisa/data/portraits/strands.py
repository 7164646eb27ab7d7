"""What hair is made of: strands that flow from the crown, shine, dyed streaks, and edges that fray."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from lisa.data.portraits.canvas import Array, Canvas, Patch, Points, noise
from lisa.data.portraits.haircut import Haircut
from lisa.data.portraits.look import Look, pick_hair
from lisa.data.portraits.pose import Pose

CLAIMED = 0.3
"""Cover from which a pixel is labelled hair: people who label masks count translucent strands in."""


@dataclass(frozen=True)
class Strands:
    """The hair of one portrait, all over the frame."""

    color: Array
    """(size, size, 3), lit."""
    threads: Array
    """(size, size), about -1..1 across the strands: where an edge frays."""
    fray: float
    """How far edges fray, in units of the frame."""
    crisp: float
    """How sharply an edge ends: 1 soft, 8 cut."""
    rim: float
    """Light from behind that shines through the edges: 0 none."""

    def paint(self, canvas: Canvas, *polygons: Points, dim: float = 1.0, opacity: float = 1.0) -> None:
        """Paints and labels the union of polygons as hair with frayed edges; ``dim`` darkens it."""
        patch = self._frayed(canvas, canvas.cover(*polygons))
        color = self.color if dim == 1 else self.color * np.float32(dim)
        canvas.paint(patch, color, opacity=opacity)
        if self.rim > 0:
            edge = 4 * patch.alpha * (1 - patch.alpha) * self.rim
            canvas.paint(Patch(patch.rows, patch.cols, np.clip(edge, 0, 1)), (1.0, 0.97, 0.9), opacity=0.7)
        canvas.claim(Patch(patch.rows, patch.cols, patch.alpha + (0.5 - CLAIMED)), "hair")

    def shade(self, canvas: Canvas, polygon: Points, factor: float) -> None:
        """The soft shadow that hair of this outline throws."""
        patch = self._frayed(canvas, canvas.cover(polygon))
        canvas.lit(patch, np.full(3, factor))

    def _frayed(self, canvas: Canvas, patch: Patch) -> Patch:
        """The patch grown by its fraying, its edge broken up along the strands."""
        radius = max(self.fray * canvas.size, 0.3)
        margin = int(3 * radius) + 1
        rows = slice(max(0, patch.rows.start - margin), min(canvas.size, patch.rows.stop + margin))
        cols = slice(max(0, patch.cols.start - margin), min(canvas.size, patch.cols.stop + margin))
        # Beyond the frame the hair goes on: without that its edge would fade along the frame's.
        padding = tuple(
            (part.start - whole.start if part.start > 0 else margin, whole.stop - part.stop
             if part.stop < canvas.size else margin)
            for part, whole in ((patch.rows, rows), (patch.cols, cols))
        )  # fmt: skip
        grown = np.pad(patch.alpha, padding, mode="constant")
        for axis, part in enumerate((patch.rows, patch.cols)):
            grown = np.moveaxis(grown, axis, 0)
            if part.start == 0:
                grown[:margin] = grown[margin]
            if part.stop == canvas.size:
                grown[-margin:] = grown[-margin - 1]
            grown = np.moveaxis(grown, 0, axis)
        stencil = Image.fromarray((grown * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
        soft = np.asarray(stencil, np.float32) / np.float32(255)
        top = margin if patch.rows.start == 0 else 0
        left = margin if patch.cols.start == 0 else 0
        soft = soft[top : top + rows.stop - rows.start, left : left + cols.stop - cols.start]
        ragged = soft + self.threads[rows, cols] * np.float32(1.8) * soft * (1 - soft)
        alpha = np.clip((ragged - 0.5) * np.float32(self.crisp) + 0.5, 0, 1)
        return Patch(rows, cols, alpha)


def make_strands(canvas: Canvas, pose: Pose, look: Look, cut: Haircut, rng: np.random.Generator) -> Strands:
    """Strands that fall from the crown, or run back to it where hair is tied up."""
    crown = pose.silhouette([(cut.part, -0.5)])[0]
    x, y = canvas.x - np.float32(crown[0]), np.maximum(canvas.y - np.float32(crown[1]), 0.004)
    waves = noise(rng, canvas.size, (7, 7)) * np.float32(0.03 + 0.2 * cut.curl)
    if cut.curl > 0.2:
        ripple = canvas.y * np.float32(rng.uniform(25, 80)) + noise(rng, canvas.size, (6, 6)) * np.float32(5)
        waves += np.float32(cut.curl * rng.uniform(0.03, 0.12)) * np.sin(ripple)
    flow = x / np.sqrt(y + 0.05) + waves
    strength = np.exp(rng.normal(-0.2, 0.5))
    if rng.random() < 0.2:  # smooth, or out of focus: one soft surface
        strength *= rng.uniform(0.1, 0.5)
    coarse, middle, fine = (_threads(flow, count, rng) for count in (18, 70, 220))
    threads = (0.16 * coarse + 0.18 * middle + 0.14 * fine) * np.float32(strength)
    if cut.frizz > 0.5:
        threads += noise(rng, canvas.size, (60, 60)) * np.float32(0.3 * strength)
    # Locks that lie in the light beside others in deep shade.
    locks = _threads(flow, int(rng.integers(4, 15)), rng) * np.float32(rng.beta(1, 1.3))
    light = _light(canvas, pose, look, x, y, threads, rng) * (1 + np.float32(0.75) * locks)
    color = np.clip(_dyed(canvas, look, coarse, rng) * light[..., None], 0, 1.2)
    color += np.maximum(light - 1, 0)[..., None] * np.float32(rng.uniform(0, 0.25))
    ragged = 0.7 * middle + 0.7 * fine + cut.frizz * noise(rng, canvas.size, (48, 48))
    return Strands(
        color=color.astype(np.float32),
        threads=ragged.astype(np.float32),
        fray=float(0.002 + 0.022 * cut.frizz**2 + 0.006 * rng.random()),
        crisp=float(rng.uniform(1.5, 5)),
        rim=float(rng.uniform(0.2, 1)) if rng.random() < 0.12 else 0.0,
    )


def _light(
    canvas: Canvas, pose: Pose, look: Look, x: Array, y: Array, threads: Array, rng: np.random.Generator
) -> Array:
    """Brightness (size, size): the head's roundness, threads, locks, bands of shine around the crown."""
    center = pose.silhouette([(0.0, -0.15)])[0]
    shade = look.shading(canvas, (float(center[0]), float(center[1])), (0.45, 0.5))
    light = shade * (np.float32(0.92) + threads)
    # Locks that lie in the light or in the shade of others.
    light *= 1 + np.float32(rng.beta(1, 1.5) * 0.6) * noise(rng, canvas.size, (5, 5))
    distance = np.hypot(x, y)
    for _ in range(rng.integers(0, 3)):
        place, width = rng.uniform(0.08, 0.5), rng.uniform(0.02, 0.1)
        band = np.exp(-(((distance - np.float32(place)) / np.float32(width)) ** 2))
        light += band * np.float32(rng.beta(1, 2) * 1.6) * (np.float32(0.5) + threads)
    return np.maximum(light, 0.05)


def _dyed(canvas: Canvas, look: Look, coarse: Array, rng: np.random.Generator) -> Array:
    """The hair's colour (size, size, 3): one, with streaks of another, or another towards the tips."""
    if rng.random() > 0.35:
        return np.broadcast_to(look.hair, (canvas.size, canvas.size, 3))
    other = pick_hair(rng)
    if rng.random() < 0.6:
        mixed = np.clip(coarse * rng.uniform(0.5, 2) + rng.uniform(-0.5, 0.5), 0, 1)
    else:
        mixed = np.clip((canvas.y - rng.uniform(0.2, 0.8)) * rng.uniform(2, 6) + 0.3 * coarse, 0, 1)
    return look.hair + (other - look.hair) * mixed[..., None].astype(np.float32)


def _threads(flow: Array, count: int, rng: np.random.Generator) -> Array:
    """Noise in -1..1 along ``flow``, ``count`` threads per unit."""
    table = rng.uniform(-1, 1, 1024).astype(np.float32)
    place = flow * np.float32(count)
    floor = np.floor(place)
    blend = place - floor
    cell = floor.astype(np.int32)
    return table[cell & 1023] * (1 - blend) + table[(cell + 1) & 1023] * blend
