"""Pictures and their masks: how they are read, whether all can be, and what to leave out."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from lisa.errors import InputError, listing
from lisa.files import read_text
from lisa.label_orders import CELEBAMASK, UNKNOWN, inverse_table, lookup_table, order_hint
from lisa.labels import IGNORE_INDEX, NUM_CLASSES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MASK_MODES = ("L", "P", "I", "I;16")

ENOUGH_FOR_ORDER = 20
"""Masks from which their pixels tell a wrong label order beyond doubt; fewer may just be odd faces."""

REMEDY = "repair or remove them, then start again"


class Pair(NamedTuple):
    """A picture and its mask."""

    image: Path
    mask: Path
    label_order: str = CELEBAMASK
    """What the mask's ids mean: see lisa.label_orders."""


def read_exclusions(path: Path, root: Path) -> frozenset[Path]:
    """Files to leave out: one path a line, from ``root`` on; lines that start with # are comments.

    Raises:
        InputError: the list can't be read, or names a file that isn't there.
    """
    # Names may be no UTF-8, and hold what str.splitlines takes for the end of a line.
    lines = read_text(path, "data.exclude", "surrogateescape").split("\n")
    files = [root / line.strip() for line in lines if line.strip() and not line.startswith("#")]
    absent = [str(file) for file in files if not file.exists() and not file.is_symlink()]
    if absent:
        foreign = not all(name.isascii() or name.isprintable() for name in absent)  # bytes that are no UTF-8
        why = "save it as UTF-8" if foreign else "was it made for another set?"
        raise InputError(f"{path} excludes files that are not there; {why}\n{listing(absent)}")
    return frozenset(files)


def read_image(path: Path) -> Image.Image:
    """The picture as 8-bit RGB, EXIF rotation applied, whatever mode it was stored in."""
    with Image.open(path) as stored:
        return upright_rgb(stored)


def upright_rgb(stored: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB, EXIF rotation applied, transparency dropped.

    Raises ValueError for floating-point samples.
    """
    image = ImageOps.exif_transpose(stored)
    if image.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
        image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point samples: their range is unknown")
    return image.convert("RGB")


def read_mask(path: Path, label_order: str = CELEBAMASK) -> Image.Image:
    """The mask as 8-bit ids of ours. Raises ValueError for colour masks and for ids that are no class."""
    with Image.open(path) as stored:
        if stored.mode not in MASK_MODES:
            raise ValueError(f"mode {stored.mode}, must be single-channel or palette")
        ids = np.asarray(stored)
    if label_order != CELEBAMASK:
        return Image.fromarray(_converted(ids, label_order))
    wrong = np.unique(ids[(ids >= NUM_CLASSES) & (ids != IGNORE_INDEX)])
    if wrong.size or ids.min() < 0:
        shown = ", ".join(str(value) for value in wrong[:5])
        raise ValueError(f"ids {shown} are out of range (0 to {NUM_CLASSES - 1}, 255 = ignore)")
    return Image.fromarray(ids.astype(np.uint8))


def _converted(ids: np.ndarray, label_order: str) -> np.ndarray:
    """Ids of another order to ours, uint8; ValueError for ids that the order doesn't name."""
    table = lookup_table(label_order)
    known = (ids >= 0) & (ids < 256) & (table[ids & 255] != UNKNOWN)
    if not known.all():
        shown = ", ".join(str(value) for value in np.unique(ids[~known])[:5])
        raise ValueError(f"ids {shown} have no name in the label order {label_order}")
    return table[ids]


def decode(pair: Pair) -> tuple[Image.Image, Image.Image]:
    """Picture and mask. Raises InputError with the file's name if one can't be read."""
    path = pair.image
    try:
        image = read_image(path)
        path = pair.mask
        mask = read_mask(path, pair.label_order)
    except Exception as error:  # Pillow's decoders say no in a dozen ways
        raise InputError(f"{path}: {str(error) or type(error).__name__}") from error
    return image, mask


def count_labels(pair: Pair) -> np.ndarray:
    """Pixels per id (256,) of a pair, after decoding all of it. Raises InputError if it can't be used."""
    image, mask = decode(pair)
    if image.size != mask.size:
        sizes = f"{mask.width}x{mask.height}, its picture is {image.width}x{image.height}"
        raise InputError(f"{pair.mask}: {sizes}")
    return np.bincount(np.asarray(mask).ravel(), minlength=256)


def _counts_or_fault(pair: Pair) -> np.ndarray | str:
    try:
        return count_labels(pair)
    except InputError as error:
        return str(error)


def check_pairs(
    pairs: Sequence[Pair], gather: Callable[[Any], list[Any]], rank: int, size: int
) -> np.ndarray:
    """Decodes every pair once, each rank its share; returns all masks' pixels per class, (C,) int64.

    Raises the same InputError on all ranks. Masks that clearly are in another label order are refused too.
    ``gather`` collects an object from every rank (``World.all_gather``).
    """
    own_faults: list[str] = []
    own_counts = np.zeros(256, np.int64)
    with ThreadPoolExecutor() as pool:
        for result in pool.map(_counts_or_fault, pairs[rank::size]):
            if isinstance(result, str):
                own_faults.append(result)
            else:
                own_counts += result
    shares = gather((own_faults, own_counts))
    faults = sorted(fault for share, _ in shares for fault in share)
    if faults:
        raise InputError(f"{len(faults)} of {len(pairs)} pairs can't be used; {REMEDY}:\n{listing(faults)}")
    counts = np.sum([counts for _, counts in shares], axis=0)
    if len(pairs) >= ENOUGH_FOR_ORDER:
        hint = stored_order_hint(counts, pairs[0].label_order)
        if hint:
            raise InputError(f"{pairs[0].mask.parent}: {hint}")
    return counts[:NUM_CLASSES]


def stored_order_hint(counts: np.ndarray, label_order: str) -> str | None:
    """:func:`order_hint` for pixels per id (256,) that were counted after reading in ``label_order``."""
    stored = np.zeros(256)
    stored[inverse_table(label_order)[:NUM_CLASSES]] = counts[:NUM_CLASSES]
    stored[UNKNOWN] = 0  # labels that the order lacks: their count is 0
    return order_hint(stored, label_order)
