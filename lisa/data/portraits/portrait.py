"""One portrait, from back to front."""

import numpy as np
from numpy.typing import NDArray

from lisa.data.portraits.backdrop import draw_background
from lisa.data.portraits.camera import photograph
from lisa.data.portraits.canvas import Canvas
from lisa.data.portraits.clothing import draw_cloth
from lisa.data.portraits.complexion import draw_complexion
from lisa.data.portraits.features import draw_brows, draw_eyes, draw_mouth, draw_nose
from lisa.data.portraits.glasses import draw_glasses, draw_glasses_kind
from lisa.data.portraits.hair import draw_back, draw_front
from lisa.data.portraits.haircut import draw_haircut
from lisa.data.portraits.hats import draw_hat
from lisa.data.portraits.head import draw_ear, draw_ears, draw_face, draw_neck, face_outline
from lisa.data.portraits.jewellery import draw_earrings, draw_necklace
from lisa.data.portraits.look import draw_look, skin_texture
from lisa.data.portraits.occluders import draw_occluder
from lisa.data.portraits.pose import draw_pose
from lisa.data.portraits.relief import light_face
from lisa.data.portraits.strands import make_strands
from lisa.data.portraits.traits import Traits, draw_traits

FACING = 0.1
"""Sine of the yaw from which the near ear lies in front of the cheek."""


def draw_portrait(
    rng: np.random.Generator, size: int, traits: Traits | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture (size, size, 3) and its mask (size, size) of label ids, both uint8."""
    traits = traits or draw_traits(rng)
    look = draw_look(rng)
    pose = draw_pose(rng, traits.left_ear, traits.right_ear)
    cut = draw_haircut(rng, traits)
    canvas = Canvas(size)
    draw_background(canvas, (look.skin, look.hair), rng)
    flat, skin = skin_texture(canvas, look, pose, rng)
    strands = make_strands(canvas, pose, look, cut, rng)
    outline = face_outline(rng)
    if not traits.bald:
        draw_back(canvas, pose, cut, strands, rng)
    neck = draw_neck(canvas, pose, look, flat, not traits.cloth, rng)
    if traits.cloth:
        draw_cloth(canvas, pose, neck, rng, low=traits.necklace)
    if traits.necklace:
        draw_necklace(canvas, pose, rng)
    ears = draw_ears(rng)
    sides = [side for side, shows in ((1, traits.left_ear), (-1, traits.right_ear)) if shows]
    near = [side for side in sides if -side * pose.turn > FACING]
    for side in [side for side in sides if side not in near]:
        draw_ear(canvas, pose, skin, ears, side, rng)
    short = not cut.long and look.makeup == 0
    beard = float(rng.uniform(0.15, 1)) if short and rng.random() < 0.45 else 0.0
    face = draw_face(canvas, pose, look, flat, outline, rng)
    draw_complexion(canvas, pose, look, face, rng, beard, traits.bald)
    draw_brows(canvas, pose, look, rng)
    glasses = draw_glasses_kind(rng) if traits.glasses else None
    draw_eyes(canvas, pose, look, rng, labelled=not (glasses and glasses.dark))
    draw_nose(canvas, pose, look, rng)
    draw_mouth(canvas, pose, look, rng, traits.open_mouth)
    light_face(canvas, pose, look, face, rng)
    for side in near:
        draw_ear(canvas, pose, skin, ears, side, rng)
    if glasses:
        draw_glasses(canvas, pose, glasses, rng)
    if not traits.bald:
        draw_front(canvas, pose, look, cut, traits, strands, rng)
    if traits.hat:
        draw_hat(canvas, pose, look, 0.0 if traits.bald else cut.top, rng)
    if traits.earring:
        draw_earrings(canvas, pose, ears, tuple(sides) or ((1,) if pose.turn < 0 else (-1,)), rng)
    draw_occluder(canvas, pose, skin, rng)
    return photograph(canvas.picture, rng), canvas.mask
