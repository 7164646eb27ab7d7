"""The raw CelebAMask-HQ release to {train,val,test}/{images,masks} at 512x512.

    python -m lisa.data.celebamask --source CelebAMask-HQ --output data/celebamask

A killed run goes on where it stopped: finished files are kept unless their sources are newer, half-written
ones never exist. When all is done, ``manifest.jsonl`` lists every face with the SHA-256 of its files.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, features

from lisa.data.celebamask.source import (
    PARTS,
    PICTURES,
    check_complete,
    find_folder,
    list_parts,
    list_pictures,
    official_split,
    report_split,
)
from lisa.data.exif import UNREADABLE
from lisa.data.folders import SPLITS
from lisa.data.parallel import parallel_map
from lisa.errors import InputError, one_line_errors
from lisa.labels import IDS, PAINT_ORDER, PALETTE
from lisa.system.claimed_folder import claim_folder
from lisa.system.files import make_folders, write_json, write_whole

MARKER = "celebamask.json"
MANIFEST = "manifest.jsonl"
VERSION = 1
"""Raise it when the same source would give other files."""
SIZE = 512
JPEG_QUALITY = 95
WHITE = 127
"""Part masks are of the part above this grey level; where nothing is, of their only level above 0."""


@dataclass(frozen=True)
class Job:
    """One face to convert: its files in the release and its place in the output."""

    index: int
    picture: Path
    parts: tuple[tuple[str, Path], ...]
    """Name and path of each part present, in the order of painting."""
    folder: Path

    @property
    def image(self) -> Path:
        """The JPEG to write."""
        return self.folder / "images" / f"{self.index:05d}.jpg"

    @property
    def mask(self) -> Path:
        """The palette PNG to write."""
        return self.folder / "masks" / f"{self.index:05d}.png"


def convert(
    source: Path, output: Path, split: str = "official", seed: int = 0, workers: int | None = None
) -> int:
    """Convert the release in ``source`` and return the number of faces in ``output``.

    Args:
        source: Folder with ``CelebA-HQ-img`` and ``CelebAMask-HQ-mask-anno``; never written to.
        output: New folder, or one that an earlier run of the same settings began.
        split: ``official`` (CelebA's, by the mapping file) or ``report`` (5,000 / 1,000 / 100 at random).
        seed: Of the ``report`` split.
        workers: Processes; all available cores by default.

    Raises:
        InputError: what is missing or broken in the source, or why the output can't be written.
    """
    pictures = list_pictures(find_folder(source, PICTURES))
    parts = list_parts(find_folder(source, PARTS))
    check_complete(pictures, parts)
    splits = (
        official_split(source, list(pictures)) if split == "official" else report_split(list(pictures), seed)
    )
    recipe = {"split": split, "seed": seed, "pictures": len(pictures), "size": SIZE, "version": VERSION}
    # A corrected mapping file would leave a face in the split where it was, beside the new one.
    recipe["splits"] = hashlib.sha256(json.dumps(sorted(splits.items())).encode()).hexdigest()[:16]
    claim_folder(output, MARKER, recipe, upgrade=lambda begun: {"splits": recipe["splits"], **begun})
    write_json(output / MARKER, recipe)  # an older version noted no splits
    make_folders(output / name / kind for name in SPLITS for kind in ("images", "masks"))
    jobs = [
        Job(index, pictures[index], _in_order(parts[index]), output / name) for index, name in splits.items()
    ]
    digests = list(parallel_map(_convert_face, jobs, "converting faces", workers))
    _write_manifest(output, recipe, splits, digests)
    return len(jobs)


def _in_order(parts: dict[str, Path]) -> tuple[tuple[str, Path], ...]:
    return tuple((name, parts[name]) for name in PAINT_ORDER if name in parts)


def _convert_face(job: Job) -> tuple[str, str]:
    """Write what is not there yet, or is older than its source; return the SHA-256 of image and mask."""
    if _is_due(job.mask, [path for _, path in job.parts]):
        write_whole(job.mask, encode_mask(merge_parts(job.parts)))
    if _is_due(job.image, [job.picture]):
        write_whole(job.image, encode_picture(read_picture(job.picture)))
    return _sha256(job.image), _sha256(job.mask)


def _is_due(target: Path, sources: Sequence[Path]) -> bool:
    """Whether ``target`` has to be written. What came out of an archive has its old date, and a new ctime."""
    if not target.exists():
        return True
    written = target.stat().st_mtime_ns
    found = [source.stat() for source in sources]
    return any(max(each.st_mtime_ns, each.st_ctime_ns) > written for each in found)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def merge_parts(parts: tuple[tuple[str, Path], ...]) -> NDArray[np.uint8]:
    """The label map (512, 512) of one face: parts painted in the given order, later ones on top.

    Raises:
        InputError: a part can't be read or isn't 512x512.
    """
    merged = np.zeros((SIZE, SIZE), np.uint8)
    for name, path in parts:
        merged[_read_part(path)] = IDS[name]
    return merged


def _read_part(path: Path) -> NDArray[np.bool_]:
    """Where the part is, (512, 512): white on black, or 1 on 0 as some copies of the release have it."""
    try:
        with Image.open(path) as image:
            size = image.size
            grey = np.asarray(image.convert("L")) if size == (SIZE, SIZE) else None
            clear = image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255
    except UNREADABLE as error:
        raise _unreadable("part mask", path, error) from error
    if grey is None:
        raise InputError(
            f"part mask {path} is {size[0]}x{size[1]}, not {SIZE}x{SIZE}; unpack the release again"
        )
    largest = grey.max()
    if clear or (largest <= WHITE and not np.isin(grey, (0, largest)).all()):
        kind = "is partly transparent" if clear else f"has several values from 0 to {largest}"
        raise InputError(f"part mask {path} {kind}, must be 0 and 255 or 0 and 1; unpack the release again")
    return grey > (WHITE if largest > WHITE else 0)


def read_picture(path: Path) -> Image.Image:
    """The picture as RGB at 512x512, antialiased.

    A JPEG of 1024x1024 is scaled while it is decoded: its DCT blocks lose their upper frequencies, which is
    an antialiasing filter, 6 times faster than decoding and Lanczos, and 53 dB from its result.

    Raises:
        InputError: it can't be read or isn't square.
    """
    try:
        with Image.open(path) as image:
            if image.width != image.height:
                raise InputError(f"picture {path} is {image.width}x{image.height}; CelebA-HQ's are square")
            if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
                raise InputError(f"picture {path} has an EXIF orientation; CelebA-HQ's, and masks, have none")
            image.draft("RGB", (SIZE, SIZE))
            picture = image.convert("RGB")
    except InputError:
        raise
    except UNREADABLE as error:
        raise _unreadable("picture", path, error) from error
    return picture if picture.size == (SIZE, SIZE) else picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _unreadable(kind: str, path: Path, error: Exception) -> InputError:
    size = path.stat().st_size if path.is_file() else None
    reason = "it is empty" if size == 0 else getattr(error, "strerror", None) or "it is damaged or cut short"
    return InputError(f"can't read {kind} {path}: {reason}; unpack it again")


def encode_picture(picture: Image.Image) -> bytes:
    """JPEG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=JPEG_QUALITY)
    return buffer.getvalue()


def encode_mask(ids: NDArray[np.uint8]) -> bytes:
    """PNG bytes of a label map (H, W) with the labels' palette, lossless."""
    buffer = io.BytesIO()
    mask = Image.fromarray(ids, mode="P")
    mask.putpalette(PALETTE)
    mask.save(buffer, "png")
    return buffer.getvalue()


def _write_manifest(
    output: Path, recipe: dict[str, str | int], splits: dict[int, str], digests: list[tuple[str, str]]
) -> None:
    """One JSON object a line: how the set was made, then every face. No times: same source, same bytes."""
    head = {
        **recipe,
        "merge_order": PAINT_ORDER,
        "versions": {"pillow": version("pillow"), "numpy": version("numpy"), "jpeg": features.version("jpg")},
    }
    rows = (
        {"source_index": index, "split": split, "image_sha256": image, "mask_sha256": mask}
        for (index, split), (image, mask) in zip(splits.items(), digests, strict=True)
    )
    lines = [json.dumps(row) for row in (head, *rows)]
    write_whole(output / MANIFEST, ("\n".join(lines) + "\n").encode())


def main(
    source: Path,
    output: Path = Path("data/celebamask"),
    split: Literal["official", "report"] = "official",
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Convert the raw CelebAMask-HQ release for training.

    Args:
        source: The unpacked release.
        output: Folder to make; an unfinished run in it goes on.
        split: CelebA's official split, or the report's 5,000 / 1,000 / 100 at random.
        seed: Of the report's split.
        workers: Processes; all available cores by default.
    """
    with one_line_errors():
        count = convert(source, output, split, seed, workers)
        print(f"{count:,} faces of {SIZE}x{SIZE} in {output}, listed in {output / MANIFEST}")
