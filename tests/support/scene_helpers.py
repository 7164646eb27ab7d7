"""Scenes of painted faces, in which a pixel's colour is its label: a network that can be trusted entirely."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from deploy.predictor.faces.arrangement import Arrangement
from deploy.predictor.faces.finder import Finder
from deploy.predictor.pictures import Pixels
from deploy.torchscript import Exported
from lisa.face_parser import MEAN, STD
from lisa.labels import NAMES, PALETTE
from lisa.labels.celebamask import CELEBAMASK

COLORS = torch.tensor(PALETTE, dtype=torch.float32).view(-1, 3)

# CelebAMask-HQ's arrangement, from 256 training masks.
PARTS: list[dict[str, Any]] = [
    {"name": name, "ids": ids, "weight": weight, "mean": mean, "area": area,
     "covariance": [[x * x, 0], [0, y * y]]}
    for name, ids, weight, mean, (x, y), area in (
        ("left_eye", [5], 1.0, [0.379, 0.478], (0.008, 0.005), 0.0022),
        ("right_eye", [4], 1.0, [0.622, 0.478], (0.007, 0.005), 0.0023),
        ("left_brow", [7], 0.5, [0.373, 0.416], (0.019, 0.014), 0.0040),
        ("right_brow", [6], 0.5, [0.627, 0.415], (0.018, 0.015), 0.0042),
        ("nose", [2], 1.0, [0.498, 0.578], (0.016, 0.013), 0.0205),
        ("mouth", [10, 11, 12], 1.0, [0.499, 0.750], (0.010, 0.017), 0.0120),
        ("glasses", [3], 0.0, [0.501, 0.479], (0.030, 0.026), 0.0600),
    )
]  # fmt: skip
METADATA: dict[str, Any] = {"parts": PARTS, "face_ids": [1, 2, 3, 4, 5, 6, 7, 10, 11, 12]}
ARRANGEMENT = Arrangement.from_metadata(METADATA)


def by_color(images: Tensor) -> Tensor:
    """(B,3,h,w) in 0..255 to logits (B,19,h,w): the nearer a label's colour, the larger."""
    # Minus the squared distance, but for what all labels share.
    colors = torch.einsum("bchw,lc->blhw", images, 2 * COLORS)
    return (colors - (COLORS**2).sum(1)[None, :, None, None]) / 600


@cache
def finder() -> Finder:
    return Finder(by_color, ARRANGEMENT, size=96, window=64)


@cache
def painted_face(side: int = 256) -> Pixels:
    """(side,side,3): an aligned face as the arrangement has it, in its labels' colours, background black."""
    face = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(face)

    def oval(label: int, x: float, y: float, half_width: float, half_height: float) -> None:
        box = [(x - half_width) * side, (y - half_height) * side, (x + half_width) * side]
        draw.ellipse([*box, (y + half_height) * side], fill=tuple(COLORS[label].int().tolist()))

    oval(13, 0.5, 0.45, 0.34, 0.4)  # hair
    oval(1, 0.5, 0.56, 0.24, 0.34)  # skin
    for part in PARTS[:-1]:
        x, y = part["mean"]
        flat = 1.0 if part["name"] == "nose" else 0.4
        radius = math.sqrt(part["area"] / math.pi / flat)
        oval(part["ids"][-1], x, y, radius, radius * flat)
    return np.asarray(face)


def scene(
    width: int, height: int, *faces: tuple[float, float, float, float], mirrored: bool = False
) -> Pixels:
    """Faces at centre x, y, side and angle in degrees, clockwise as seen, on black."""
    whole = Image.new("RGB", (width, height))
    for x, y, side, degrees in faces:
        face = Image.fromarray(painted_face())
        if mirrored:
            face = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        scale, angle = side / face.width, math.radians(degrees)
        # Pillow wants the way from the scene to the face.
        c, s = math.cos(angle) / scale, math.sin(angle) / scale
        half = face.width / 2
        way = (c, s, half - c * x - s * y, -s, c, half + s * x - c * y)
        laid = face.transform(whole.size, Image.Transform.AFFINE, way, Image.Resampling.NEAREST)
        whole.paste(laid, mask=laid.convert("L").point([0] + [255] * 255))
    return np.asarray(whole)


class ByColor(nn.Module):
    """:func:`by_color` as a network, on normalised pictures."""

    colors: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("colors", COLORS.clone())
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1) * 255)

    def forward(self, x: Tensor) -> Tensor:
        images = x * self.std + self.mean
        products = torch.einsum("bchw,lc->blhw", images, 2 * self.colors)
        return (products - (self.colors**2).sum(1)[None, :, None, None]) / 600


def write_painted_model(path: Path, size: int = 64, **faces: Any) -> Path:
    """A model file whose network knows labels by their colours; ``faces`` are said beside the arrangement."""
    metadata = {
        "format": 2,
        "size": size,
        "labels": list(NAMES),
        "palette": list(PALETTE),
        "flip_pairs": [list(pair) for pair in CELEBAMASK.flip_pairs],
        "label_set": CELEBAMASK.to_dict(),
        "faces": {**METADATA, "size": size, "window": round(size * 2 / 3), "own": True, **faces},
    }
    script = torch.jit.script(Exported(ByColor(), size).eval())
    torch.jit.save(script, path, _extra_files={"lisa.json": json.dumps(metadata)})
    return path


def save(folder: Path, **pictures: Pixels) -> Path:
    """The folder, with the pictures as PNG files of their names."""
    folder.mkdir(exist_ok=True)
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def found(output: Path) -> dict[str, Any]:
    """The rows of faces.json by the pictures' stems."""
    return {Path(row["picture"]).stem: row for row in json.loads((output / "faces.json").read_text())}
