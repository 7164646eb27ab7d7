"""Colours and light of one portrait."""

from dataclasses import dataclass

import numpy as np

from lisa.data.portraits.canvas import Array, Canvas, noise
from lisa.data.portraits.pose import Pose

SKINS = (
    (250, 222, 204),
    (240, 200, 175),
    (226, 178, 148),
    (205, 150, 116),
    (160, 108, 78),
    (112, 72, 52),
    (72, 46, 36),
)
SKIN_WEIGHTS = (0.2, 0.26, 0.22, 0.14, 0.08, 0.06, 0.04)
HAIRS = (
    (28, 22, 20), (46, 32, 25), (74, 50, 34), (104, 70, 44), (140, 98, 60), (190, 148, 92), (222, 190, 136),
    (136, 62, 34), (150, 148, 146), (206, 204, 200), (236, 212, 172),
)  # fmt: skip
HAIR_WEIGHTS = (0.17, 0.16, 0.14, 0.11, 0.1, 0.1, 0.08, 0.05, 0.04, 0.02, 0.03)
IRISES = ((70, 46, 30), (92, 62, 38), (96, 110, 78), (88, 124, 160), (120, 130, 138))


@dataclass(frozen=True)
class Look:
    """Colours are RGB in 0..1, float32 (3,); the light's direction points from the face to the lamp."""

    skin: Array
    lips: Array
    hair: Array
    iris: Array
    light: tuple[float, float, float]
    contrast: float
    """0 flat light, 1 hard light."""
    makeup: float
    """0 none, 1 strong: lips, lashes and lids."""
    age: float
    """0 smooth, 1 lined."""

    def shading(self, canvas: Canvas, center: tuple[float, float], radii: tuple[float, float]) -> Array:
        """Brightness (size, size) of an ellipsoid under this light, about 1 on average."""
        nx = (canvas.x - center[0]) / radii[0]
        ny = (canvas.y - center[1]) / radii[1]
        nz = np.sqrt(np.clip(1 - nx * nx - ny * ny, 0.02, 1))
        lx, ly, lz = self.light
        lit = np.clip((nx * lx + ny * ly + nz * lz) / np.sqrt(nx * nx + ny * ny + nz * nz), 0, 1)
        return np.asarray(1 + self.contrast * (lit - 0.72), np.float32)


def pick(
    rng: np.random.Generator, colors: tuple[tuple[int, int, int], ...], weights: tuple[float, ...]
) -> Array:
    """A colour of a list, moved a little at random."""
    base = np.array(colors[rng.choice(len(colors), p=np.array(weights) / sum(weights))], np.float32) / 255
    return np.clip(base * rng.uniform(0.9, 1.1) + rng.normal(0, 0.015, 3), 0.02, 1).astype(np.float32)


def pick_hair(rng: np.random.Generator) -> Array:
    """A hair colour by its frequency; some are dyed."""
    if rng.random() < 0.04:
        return rng.uniform(0.05, 0.9, 3).astype(np.float32)
    return pick(rng, HAIRS, HAIR_WEIGHTS)


def draw_look(rng: np.random.Generator) -> Look:
    """Random colours and light; dark skin comes with dark hair more often than not."""
    skin = pick(rng, SKINS, SKIN_WEIGHTS)
    skin = np.clip(skin.mean() + (skin - skin.mean()) * np.float32(rng.uniform(0.8, 1.7)), 0.02, 1)
    dark = float(skin.mean()) < 0.5
    hair = pick(rng, HAIRS[:3], HAIR_WEIGHTS[:3]) if dark and rng.random() < 0.9 else pick_hair(rng)
    if not dark and rng.random() < 0.1:  # as blond or red hair under warm light
        hair += (skin - hair) * np.float32(rng.uniform(0.6, 1))
    makeup = float(rng.uniform(0.3, 1)) if rng.random() < 0.6 else 0.0
    rosy = np.array((0.80, 0.42, 0.42), np.float32) * (0.55 + 0.5 * float(skin.mean()))
    painted = np.array(((0.72, 0.12, 0.16), (0.75, 0.3, 0.35), (0.5, 0.14, 0.2))[rng.integers(3)], np.float32)
    lips = skin * 0.35 + rosy * 0.65
    lips += (painted - lips) * makeup * float(rng.uniform(0.2, 0.8))
    aside = rng.normal(0, 0.4) if rng.random() < 0.75 else rng.normal(0, 1.3)
    direction = np.array((aside, rng.normal(-0.35, 0.4), 1.0))
    x, y, z = (direction / np.linalg.norm(direction)).tolist()
    return Look(
        skin=skin,
        lips=lips.astype(np.float32),
        hair=hair,
        iris=pick(rng, IRISES, (0.4, 0.25, 0.1, 0.15, 0.1)),
        light=(x, y, z),
        contrast=float(rng.uniform(0.1, 1.0) if rng.random() < 0.85 else rng.uniform(1.0, 1.4)),
        makeup=makeup,
        age=float(rng.beta(1.2, 2.5)),
    )


def skin_texture(canvas: Canvas, look: Look, pose: Pose, rng: np.random.Generator) -> tuple[Array, Array]:
    """Skin all over the frame, (size, size, 3) each: with blotches, and the same shaded as the head is."""
    center = pose.place(np.array([(-0.1 * pose.turn, 0.0)]))[0]
    shade = look.shading(canvas, (float(center[0]), float(center[1])), (0.33 * pose.scale, 0.44 * pose.scale))
    blotches = noise(rng, canvas.size, (9, 9)) * 0.02 + noise(rng, canvas.size, (40, 40)) * 0.015
    warmth = (1 - shade)[..., None] * np.array((0.0, 0.06, 0.1), np.float32)
    flat = look.skin * (1 + blotches)[..., None]
    return flat, np.clip(flat * shade[..., None] - warmth, 0, 1)
