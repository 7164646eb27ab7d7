"""Scenes: validation faces at known places, sizes and turns, on backgrounds without a face."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.photos.backgrounds import BEHIND, WITHOUT, Random, background
from lisa.data.pairs import Pair, decode
from lisa.labels import IGNORE_INDEX

FACE = 192
"""Side of a pasted face, pixels."""


@dataclass(frozen=True)
class Group:
    """Scenes of one kind."""

    name: str
    share: float
    """The face's side, as a share of the photo's shorter one."""
    turn: float | None
    """Degrees either way; None for any up to 25."""
    faces: int
    side: int = FACE
    """Of a face, pixels."""
    cover: str = ""
    """What hides a part of each face: a key of COVERS."""
    light: float = 1.0
    """The photo's brightness."""


GROUPS = (
    *(Group(f"{share:g}", share, 0, 1) for share in (1.0, 0.8, 0.66, 0.5, 0.33, 0.2)),
    Group("0.5, 15 degrees", 0.5, 15, 1),
    Group("0.5, 30 degrees", 0.5, 30, 1),
    Group("two faces", 0.4, None, 2),
    Group("three faces", 0.33, None, 3),
    Group("none", 0, 0, 0),
)

STRESS = (
    *(Group(cover, 0.5, 0, 1, cover=cover) for cover in ("dark glasses", "face mask", "half covered")),
    Group("dark", 0.5, 0, 1, light=0.3),
    *(Group(f"{turn} degrees", 0.5, turn, 1) for turn in (45, 60, 90)),
    Group("48 pixels", 0.2, 0, 1, side=48),
)
"""What detectors are good at and a parser finds hard."""

Covers = tuple[tuple[str, tuple[float, ...], tuple[int, int, int]], ...]
COVERS: dict[str, Covers] = {
    "dark glasses": (
        ("ellipse", (0.27, 0.41, 0.48, 0.56), (20, 20, 24)),
        ("ellipse", (0.52, 0.41, 0.73, 0.56), (20, 20, 24)),
        ("line", (0.22, 0.46, 0.78, 0.46), (20, 20, 24)),
    ),
    "face mask": (
        ("polygon", (0.24, 0.58, 0.5, 0.52, 0.76, 0.58, 0.68, 0.86, 0.5, 0.94, 0.32, 0.86), (140, 175, 205)),
    ),
    "half covered": (("rectangle", (0.0, 0.0, 0.5, 1.0), (120, 110, 100)),),
}
"""Shapes of Pillow's over an aligned face, shares of its side, and their colours."""


@dataclass(frozen=True)
class Scene:
    """A photo, its labels, and where its faces are: centre x, y, side (pixels), turn (degrees, clockwise)."""

    photo: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    faces: tuple[tuple[float, float, float, float], ...]


def build(
    group: Group, number: int, seed: int, pairs: Sequence[Pair], patches: Sequence[Image.Image]
) -> Scene:
    """The group's scene of this number; the same arguments give the same scene."""
    rng = np.random.default_rng((seed, zlib.crc32(group.name.encode()), number))
    if group.faces == 0:
        height = int(rng.choice([300, 500, 800]))
        width = height if rng.random() < 0.3 else round(1.33 * height)
        kind = WITHOUT[number % len(WITHOUT)]
        photo = background(kind, width, height, rng, patches)
        return Scene(np.array(photo), np.zeros((height, width), np.uint8), ())
    short = round(group.side / group.share)
    width, height = round(short * float(rng.choice([1, 1.33, 1.5]))), short
    if rng.random() < 0.35:
        width, height = height, width
    photo = background(BEHIND[rng.integers(len(BEHIND))], width, height, rng, patches)
    mask = Image.new("L", (width, height))
    cut_out, faces = rng.random() < 0.5, list[tuple[float, float, float, float]]()
    for place in _places(group, width, height, rng):
        pair = pairs[(number * group.faces + len(faces)) % len(pairs)]
        faces.append(_paste(photo, mask, pair, place, bool(cut_out), group.cover))
    pixels = np.array(photo)
    if group.light != 1:
        pixels = (pixels * group.light).astype(np.uint8)
    return Scene(pixels, np.asarray(mask), tuple(faces))


def _places(
    group: Group, width: int, height: int, rng: Random
) -> Iterator[tuple[float, float, float, float]]:
    """Centre, side and turn of faces that do not touch; fewer than asked where there is no room."""
    taken: list[tuple[float, float, float]] = []
    for _ in range(200):
        if len(taken) == group.faces:
            return
        side = group.side * (1.0 if group.faces == 1 else rng.uniform(0.7, 1.1))
        turn = rng.uniform(-25, 25) if group.turn is None else group.turn * rng.choice([-1, 1])
        x, y = (
            rng.uniform(side / 2, length - side / 2) if length > side else length / 2
            for length in (width, height)
        )
        if all(math.hypot(x - a, y - b) > 0.4 * (side + other) for a, b, other in taken):
            taken.append((x, y, side))
            yield x, y, side, float(turn)


def _paste(
    photo: Image.Image,
    mask: Image.Image,
    pair: Pair,
    place: tuple[float, float, float, float],
    cut_out: bool,
    cover: str,
) -> tuple[float, float, float, float]:
    """Pastes a face, without what was behind it if it is cut out; returns where it really lies."""
    x, y, side, turn = place
    size = round(side)
    decoded = decode(pair)
    face = decoded.image.resize((size, size), Image.Resampling.LANCZOS)
    labels = decoded.mask.resize((size, size), Image.Resampling.NEAREST)
    if cover:
        _cover(face, labels, COVERS[cover])
    shown = Image.new("L", (size, size), 255)
    if cut_out:
        person = Image.fromarray((np.asarray(labels) > 0) * np.uint8(255))
        shown = person.filter(ImageFilter.GaussianBlur(0.7))
    face, shown = (each.rotate(-turn, Image.Resampling.BICUBIC, expand=True) for each in (face, shown))
    labels = labels.rotate(-turn, Image.Resampling.NEAREST, expand=True)
    left, top = round(x - face.width / 2), round(y - face.height / 2)
    photo.paste(face, (left, top), shown)
    mask.paste(labels, (left, top), shown.point([0] * 128 + [255] * 128))
    return left + face.width / 2, top + face.height / 2, float(size), turn


def _cover(face: Image.Image, labels: Image.Image, covers: Covers) -> None:
    """Draws over a face; what it hides counts in no figure."""
    for shape, places, color in covers:
        points = [place * face.width for place in places]
        for image, fill in ((face, color), (labels, IGNORE_INDEX)):
            getattr(ImageDraw.Draw(image), shape)(points, fill=fill)


def patches_of(pairs: Sequence[Pair], inner: Sequence[int], seed: int) -> list[Image.Image]:
    """Pieces of photographs in which none of these labels is to be seen."""
    rng, found = np.random.default_rng(seed), list[Image.Image]()
    for pair in pairs:
        image, mask = decode(pair)
        ids = np.asarray(mask.resize(image.size, Image.Resampling.NEAREST))
        for _ in range(12):
            side = int(min(image.size) * rng.uniform(0.18, 0.4))
            x, y = (int(rng.integers(0, length - side)) for length in image.size)
            if not np.isin(ids[y : y + side, x : x + side], inner).any():
                found.append(image.crop((x, y, x + side, y + side)))
    return found
