"""What becomes of a label map: the files that the user asked for."""

import argparse
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .cutout import opacity
from .errors import CannotStartError
from .files import changed_at, is_there, printable, write_whole
from .gallery import GALLERY, gallery_piece
from .inputs import HEAD, PICTURE, Job
from .photos import Parsed, corners, rows_of
from .pictures import Pixels, encode_pages, encode_picture
from .unions import read_cutout, read_parts

PNG_LEVEL = 1
"""zlib's level: 9 makes the label maps a little smaller and takes many times as long."""

JPEG_SIDE = 65_500
"""The largest side that libjpeg writes."""

OWN, CELEBAMASK, FACE_PARSING = "own", "celebamask", "face-parsing.pytorch"
OLD_NAMES = {"zllrunning": FACE_PARSING}
"""Orders by the names that --labels had for them before."""

CELEBAMASK_NAMES = (
    *("background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth"),
    *("u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""Names by id in CelebAMask-HQ's label maps."""

FACE_PARSING_NAMES = (
    *("background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r", "nose"),
    *("mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat"),
)
"""Names by id in https://github.com/zllrunning/face-parsing.PyTorch, whose order many tools expect."""


FACES = "faces"
"""Folder of what was found in each picture, and the stem of the file that holds all of it."""

KINDS = ("overlay", "color", "cutout", "probabilities", "face_maps", FACES, GALLERY)
"""Folders of what is written beside the maps, but for parts/NAME."""

INNER = frozenset({
    *("skin", "nose", "glasses", "left_eye", "right_eye", "left_brow", "right_brow", "mouth", "upper_lip"),
    *("lower_lip", "beard", "eyes", "brows", "lips"),
})  # fmt: skip
"""Roles of the parts between whose edges lies a face's box, and names of labels without roles."""


def inner_ids(metadata: dict[str, Any]) -> list[int]:
    """Labels of the inner face that show nothing else: by their roles, or by name where they have none."""
    names: list[str] = metadata["labels"]
    labels: list[dict[str, Any]] = metadata.get("label_set", {}).get("labels", [{}] * len(names))
    meanings = [{*(label.get("roles") or [name])} for label, name in zip(labels, names, strict=True)]
    return [index for index, meaning in enumerate(meanings) if index and meaning <= INNER]


class Writer:
    """Turns a label map into the files that the user asked for. Raises CannotStartError for unknown parts."""

    def __init__(self, metadata: dict[str, Any], options: argparse.Namespace) -> None:
        self.folder: Path = options.output
        self.names: list[str] = metadata["labels"]
        self.palette: list[int] = metadata["palette"]
        self.overlay: bool = options.overlay
        self.color: bool = options.color
        self.probabilities: bool = options.probabilities
        self.gallery: bool = options.gallery
        self.parts = read_parts(options.parts, metadata)
        self.cutout = read_cutout(options.cutout, metadata)
        self.fit: str = options.fit
        self.faces = bool(options.finds)
        self.face_maps: bool = options.face_maps and self.faces
        self.inner = inner_ids(metadata)
        orders = {CELEBAMASK: CELEBAMASK_NAMES, FACE_PARSING: FACE_PARSING_NAMES}
        order = orders.get(options.labels, self.names)
        if sorted(self.names) != sorted(order):
            raise CannotStartError(f"--labels {options.labels}: this model has other labels")
        self.renumbered = np.array([order.index(name) for name in self.names], np.uint8)
        colors = np.array(self.palette).reshape(-1, 3)
        self.out_palette = [int(value) for name in order for value in colors[self.names.index(name)]]

    def others(self) -> list[str]:
        """What the predictor has left in the output folder that is not asked for now."""
        there = [self.folder / name for name in (*KINDS, f"{GALLERY}.html", f"{FACES}.json")]
        there += sorted((self.folder / "parts").glob("[!.]*"))
        asked = {kind for kind, _ in self._kinds()}
        asked.update([f"{GALLERY}.html"] * self.gallery, [f"{FACES}.json"] * self.faces)
        names = {path.relative_to(self.folder).as_posix(): path for path in there}
        return [name for name, path in names.items() if name not in asked and path.exists()]

    def outputs(self, job: Job) -> list[str]:
        """The files of a picture, the label map last: where it stands, the picture is done."""
        return [*(f"{kind}/{job.name}{suffix}" for kind, suffix in self._kinds()), f"{job.name}.png"]

    def pngs(self, job: Job) -> list[str]:
        """``outputs`` with the ending of label maps."""
        return [name for name in self.outputs(job) if name.endswith(".png")]

    def _kinds(self) -> list[tuple[str, str]]:
        """Folders beside the maps, and the endings of what lies there."""
        kinds = [("overlay", ".jpg")] * self.overlay + [("color", ".png")] * self.color
        kinds += [(f"parts/{part}", ".png") for part in self.parts]
        kinds += [("cutout", ".png")] * bool(self.cutout) + [("probabilities", ".npz")] * self.probabilities
        kinds += [("face_maps", ".tif")] * self.face_maps
        return [*kinds, *[(FACES, ".json")] * self.faces, *[(GALLERY, ".txt")] * self.gallery]

    def targets(self, job: Job) -> list[Path]:
        """``outputs``, in the output folder."""
        return [self.folder / name for name in self.outputs(job)]

    def write(self, job: Job, picture: Pixels, parsed: Parsed) -> None:
        """Writes all outputs of a picture (H,W,3). Raises OSError."""
        contents = self.contents(job, picture, parsed)
        for path, content in zip(self.targets(job), contents, strict=True):
            write_whole(path, content)

    def forget(self, job: Job) -> None:
        """Its map goes: the picture is not done. Raises OSError."""
        self.targets(job)[-1].unlink(missing_ok=True)

    def contents(self, job: Job, picture: Pixels, parsed: Parsed) -> Iterator[bytes]:
        """The files of a picture (H,W,3), in the order of ``outputs``."""
        labels = parsed.labels
        ids = with_palette(labels, self.palette)
        if self.overlay:
            if max(labels.shape) > JPEG_SIDE:
                raise OSError(f"a JPEG overlay has at most {JPEG_SIDE} pixels a side: leave out --overlay")
            yield encode_picture(blend(picture, ids), format="JPEG", quality=90)
        if self.color:
            yield encode_picture(ids.convert("RGB"), format="PNG", compress_level=PNG_LEVEL)
        for wanted in self.parts.values():
            mask = np.isin(labels, wanted) * np.uint8(255)
            yield encode_picture(Image.fromarray(mask), format="PNG", compress_level=PNG_LEVEL)
        if self.cutout:
            alpha = opacity(parsed, self.cutout, picture, self.fit)
            cut = Image.fromarray(np.dstack([picture, alpha]))
            yield encode_picture(cut, format="PNG", compress_level=PNG_LEVEL)
        if self.probabilities and parsed.probabilities is not None:
            stream = io.BytesIO()
            in_order = np.argsort(self.renumbered)  # channel i is the map's id i
            np.savez_compressed(stream, probabilities=parsed.probabilities[..., in_order, :, :])
            yield stream.getvalue()
        if self.face_maps:  # of a picture without faces, or of one that is an aligned face: its map
            apart = parsed.apart or [(0, 0, labels)]
            yield encode_pages(with_palette(self._page(labels, *each), self.out_palette) for each in apart)
        rows = rows_of(parsed, self.names, self.inner)
        if self.faces:
            about = {"picture": printable(job.source), "map": f"{printable(Path(job.name))}.png"}
            size = {"width": picture.shape[1], "height": picture.shape[0]}
            yield json.dumps({**about, **size, "aligned": parsed.faces is None, "faces": rows}).encode()
        if self.gallery:
            frames = [corners(face).tolist() for face in parsed.faces or []]
            yield gallery_piece(printable(Path(job.name)), picture, labels, len(self.names), frames)
        renumbered, made_of = with_palette(self.renumbered[labels], self.out_palette), PngInfo()
        made_of.add_text(PICTURE, self.name_of(job))
        yield encode_picture(renumbered, format="PNG", compress_level=PNG_LEVEL, pnginfo=made_of)

    def name_of(self, job: Job) -> str:
        """A picture's place as label maps note it: a hash, for they may be handed on."""
        return hashlib.sha256(os.fsencode(self.place_of(job))).hexdigest()[:16]

    def place_of(self, job: Job) -> str:
        """Its one name, whatever the current folder is."""
        return os.path.realpath(job.source)

    def _page(self, whole: Pixels, top: int, left: int, ids: Pixels) -> Pixels:
        """A map of the whole picture's size with these ids alone."""
        page = np.full_like(whole, self.renumbered[0])
        page[top : top + ids.shape[0], left : left + ids.shape[1]] = self.renumbered[ids]
        return page


def refuse_anothers(folder: Path, writer: Writer, jobs: list[Job]) -> None:
    """Raises CannotStartError for a label map that was made of another picture than the one of its name here.

    Cameras repeat their names: it would count as this picture's, or be lost to it. So would a file that no
    predictor has written, a map that was corrected by hand, or the map of color/a.jpg as colours of a.jpg.
    """
    for job in jobs:
        for name in writer.pngs(job):
            path = folder / name
            if is_there(path) and path.is_file():
                with path.open("rb") as stored:
                    refuse_another(printable(path), name, stored.read(HEAD), writer, job)


def refuse_another(place: str, name: str, head: bytes, writer: Writer, job: Job) -> None:
    """``refuse_anothers`` for one of a picture's PNGs: it lies at ``place``, and begins with ``head``."""
    if not head:  # what a crash of the machine may leave
        return
    try:
        with Image.open(io.BytesIO(head)) as stored:
            noted = stored.info.get(PICTURE)
    except OSError:
        noted = None
    remedy = "choose another --output, or --overwrite"
    if name != writer.outputs(job)[-1]:
        if noted is not None:
            raise CannotStartError(
                f"{place} is a label map, and {printable(job.source)} would have another output: {remedy}"
            )
        return
    if noted is None:
        raise CannotStartError(f"{place} is there, and no predictor left it so: {remedy}")
    if noted != writer.name_of(job):
        raise CannotStartError(f"{place} was made of another picture than {printable(job.source)}: {remedy}")


def with_palette(labels: Pixels, palette: list[int]) -> Image.Image:
    """(H,W) ids as a palette picture."""
    image = Image.fromarray(labels)
    image.putpalette(palette)
    return image


def blend(picture: Pixels, ids: Image.Image) -> Image.Image:
    """A picture (H,W,3) with half of each class's colour over it; the background stays as it was.

    ``ids`` is a palette picture of its size.
    """
    strength = ids.point([0] + [128] * 255, "L")
    return Image.composite(ids.convert("RGB"), Image.fromarray(picture), strength)


def already_done(writer: Writer, job: Job, since: float) -> bool:
    """Whether all outputs stand and are newer than the picture and the settings."""
    try:
        changed = max(since, changed_at(job.source))
        return all(path.is_file() and path.stat().st_mtime >= changed for path in writer.targets(job))
    except OSError:
        return False
