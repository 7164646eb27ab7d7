"""A data set's folders: where its splits are, and which picture belongs to which mask."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lisa.data.pairs import IMAGE_SUFFIXES, REMEDY, Pair, read_exclusions
from lisa.errors import InputError, listing
from lisa.label_orders import CELEBAMASK, lookup_table


class Misfit(NamedTuple):
    """A file that has no partner."""

    path: Path
    problem: str


def split_folders(root: Path, split: str) -> tuple[Path, Path]:
    """The split's picture and mask folders, in either layout. Raises InputError if there are none."""
    candidates = (
        (root / split / "images", root / split / "masks"),
        (root / f"{split}_image", root / f"{split}_mask"),
    )
    try:
        for images, masks in candidates:
            if images.is_dir() and masks.is_dir():
                return images, masks
    except OSError as error:  # a folder on the way that may not be entered
        raise InputError(f"{root}: {error.strerror}") from None
    tried = " nor ".join(f"{images} with {masks}" for images, masks in candidates)
    raise InputError(f"{root}: no split {split!r} here (neither {tried})")


def find_pairs(
    root: str | Path, split: str, label_order: str = CELEBAMASK, exclude: str | Path = ""
) -> list[Pair]:
    """The split's pairs by stem, sorted, without the files listed in ``exclude``.

    Raises:
        InputError: an empty folder, unpaired files, a list that can't be read or an unknown label order.
    """
    lookup_table(label_order)
    pairs, misfits = match_files(Path(root), split, label_order)
    excluded = read_exclusions(Path(exclude), Path(root)) if exclude else frozenset[Path]()
    faults = [f"{misfit.path}: {misfit.problem}" for misfit in misfits if misfit.path not in excluded]
    if faults:
        raise InputError(f"unpaired files in split {split!r}; {REMEDY}:\n{listing(faults)}")
    kept = [pair for pair in pairs if excluded.isdisjoint((pair.image, pair.mask))]
    if not kept:
        folder, _ = split_folders(Path(root), split)
        why = (
            f"all {len(pairs)} pictures are excluded"
            if pairs
            else f"no pictures ({', '.join(IMAGE_SUFFIXES)})"
        )
        raise InputError(f"{folder}: {why}")
    return kept


def match_files(root: Path, split: str, label_order: str = CELEBAMASK) -> tuple[list[Pair], list[Misfit]]:
    """The split's pairs by stem, sorted, and the files without a partner."""
    images_folder, masks_folder = split_folders(root, split)
    misfits: list[Misfit] = []
    images = _by_stem(images_folder, IMAGE_SUFFIXES, misfits)
    masks = _by_stem(masks_folder, (".png",), misfits)
    for stem in sorted(images - masks.keys()):
        misfits.append(Misfit(images[stem], f"no mask {masks_folder / stem}.png"))
    for stem in sorted(masks - images.keys()):
        misfits.append(Misfit(masks[stem], "no picture of this stem"))
    return [Pair(images[stem], masks[stem], label_order) for stem in sorted(images.keys() & masks)], misfits


def _by_stem(folder: Path, suffixes: Sequence[str], misfits: list[Misfit]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    for path in paths:
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            misfits.append(Misfit(path, f"second file of this stem, beside {found[path.stem].name}"))
            continue
        found[path.stem] = path
    return found
