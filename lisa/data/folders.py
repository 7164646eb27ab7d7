"""A data set's folders: where its splits are, and which picture belongs to which mask."""

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from lisa.data.file_lists import read_file_list
from lisa.data.mask_formats import lossy_instead
from lisa.data.orientation import UNDECIDED, settle_orientations
from lisa.data.pairs import IMAGE_SUFFIXES, REMEDY, Pair
from lisa.data.partners import Neighbours
from lisa.errors import InputError, listing
from lisa.labels.encoding import OWN_IDS, Encoding

SPLITS = ("train", "val", "test")
"""The splits of a data set."""


class Misfit(NamedTuple):
    """A file that has no partner."""

    path: Path
    problem: str


def split_folders(root: Path, split: str) -> tuple[Path, Path]:
    """The split's picture and mask folders, in any layout. Raises InputError if there are none."""
    candidates = (
        (root / split / "images", root / split / "masks"),
        (root / f"{split}_image", root / f"{split}_mask"),
        (root / split / "images", root / split / "labels"),  # LaPa's own
    )
    try:
        for images, masks in candidates:
            if images.is_dir() and masks.is_dir():
                return images, masks
    except OSError as error:  # a folder on the way that may not be entered
        raise InputError(f"{root}: {error.strerror}") from None
    if not root.is_dir():
        raise InputError(f"{root}: {'a file, no folder' if root.exists() else 'no such folder'}")
    tried = " nor ".join(
        f"{images.relative_to(root)} with {masks.relative_to(root)}" for images, masks in candidates
    )
    hint = ""
    if os.path.isdir(root / "images" / split):  # noqa: PTH112 - says no where it may not look
        hint = f"; images/{split} is there: make it {split}/images, and its masks' folder {split}/masks"
    elif split == "val" and has_split(root):
        hint = "; in training --data.val-share 0.1 holds out a tenth of train"
    raise InputError(f"{root}: no split {split!r} here (neither {tried}){hint}")


def has_split(root: Path, split: str = "train") -> bool:
    """Whether :func:`split_folders` finds it."""
    try:
        split_folders(root, split)
    except InputError:
        return False
    return True


def find_pairs(
    root: str | Path,
    split: str,
    encoding: Encoding = OWN_IDS,
    exclude: str | Path = "",
    val_share: float = 0.0,
) -> list[Pair]:
    """The split's pairs by stem, sorted, without the files listed in ``exclude``.

    With a ``val_share`` above 0, val is what :func:`held_out` takes from train, and train is the rest.

    Raises:
        InputError: an empty folder, unpaired files, a list that can't be read, or a share of a set that
            has a split val.
    """
    if val_share > 0 and split in ("train", "val"):
        if has_split(Path(root), "val"):
            raise InputError(f"data.val_share = {val_share}: {root} has a split val; give one of the two")
        pairs = _paired(Path(root), "train", encoding, exclude)
        held = held_out([pair.image for pair in pairs], val_share)
        return [pair for pair in pairs if (pair.image in held) == (split == "val")]
    return _paired(Path(root), split, encoding, exclude)


def held_out(images: Sequence[Path], share: float) -> frozenset[Path]:
    """The training pictures that stand in for a split val: those whose stem's hash is below ``share``.

    Nothing but a picture's own name decides, so that no other picture, list, seed or process moves it from
    one side to the other. Each side has at least one picture; raises InputError where there is only one.
    """
    if len(images) < 2:
        raise InputError(f"data.val_share = {share}: {len(images)} training pictures can't be shared out")
    places = {image: int(sha256(os.fsencode(image.stem)).hexdigest()[:16], 16) / 16**16 for image in images}
    count = sum(place < share for place in places.values())
    return frozenset(sorted(images, key=places.__getitem__)[: min(max(count, 1), len(images) - 1)])


def share_of(root: str | Path, val_share: float) -> float:
    """The share that holds for ``root`` when a run's network is looked at: 0 where there is a split val."""
    return 0.0 if has_split(Path(root), "val") else val_share


def run_pictures(root: Path, split: str, val_share: float = 0.0) -> list[Path]:
    """The pictures of a run's split, whether they have masks or not.

    Raises:
        InputError: no such split, or none is held out.
    """
    share = share_of(root, val_share) if split in ("train", "val") else 0.0
    images = list(_by_stem(split_folders(root, "train" if share else split)[0], IMAGE_SUFFIXES, []).values())
    if share:
        held = held_out(images, share)
        images = [image for image in images if (image in held) == (split == "val")]
    return images


def _paired(root: Path, split: str, encoding: Encoding, exclude: str | Path) -> list[Pair]:
    pairs, misfits = match_files(root, split, encoding)
    excluded = read_file_list(Path(exclude), root, "data.exclude") if exclude else frozenset[Path]()
    faults = [f"{misfit.path}: {misfit.problem}" for misfit in misfits if misfit.path not in excluded]
    if faults:
        raise InputError(f"unpaired files in split {split!r}; {REMEDY}:\n{listing(faults)}")
    kept = [pair for pair in pairs if excluded.isdisjoint((pair.image, pair.mask))]
    if not kept:
        folder, _ = split_folders(root, split)
        why = (
            f"all {len(pairs)} pictures are excluded"
            if pairs
            else f"no pictures ({', '.join(IMAGE_SUFFIXES)})"
        )
        raise InputError(f"{folder}: {why}")
    settled, undecided = settle_orientations(kept)
    if undecided:
        files = [str(pair.mask) for pair in undecided]
        raise InputError(f"{len(files)} masks of split {split!r}: {UNDECIDED}\n{listing(files)}")
    return settled


def match_files(root: Path, split: str, encoding: Encoding = OWN_IDS) -> tuple[list[Pair], list[Misfit]]:
    """The split's pairs by stem, sorted, and the files without a partner."""
    images_folder, masks_folder = split_folders(root, split)
    misfits: list[Misfit] = []
    images = _by_stem(images_folder, IMAGE_SUFFIXES, misfits)
    masks = _by_stem(masks_folder, (".png",), misfits)
    near = Neighbours(masks_folder, "PNG")
    for stem in sorted(images - masks.keys()):
        hint = lossy_instead(masks_folder, stem) or near.hint(stem)
        misfits.append(Misfit(images[stem], f"no mask {masks_folder / stem}.png{hint}"))
    near = Neighbours(images_folder, "picture that is read here")
    for stem in sorted(masks - images.keys()):
        misfits.append(Misfit(masks[stem], f"no picture of this stem{near.hint(stem)}"))
    return [Pair(images[stem], masks[stem], encoding) for stem in sorted(images.keys() & masks)], misfits


def unread_notes(root: Path, split: str) -> list[str]:
    """Which folders of pictures lie beside the split's files: subfolders are not read."""
    notes: list[str] = []
    for folder, suffixes in zip(split_folders(root, split), (IMAGE_SUFFIXES, (".png",)), strict=True):
        with os.scandir(folder) as entries:
            others = [each for each in entries if not each.is_file(follow_symlinks=False)]
        inside = sorted(each.name for each in others if not each.name.startswith(".") and Path(each).is_dir())
        for name in inside:
            with suppress(OSError):  # what can't be listed holds nobody's pictures
                if any(file.suffix.lower() in suffixes for file in (folder / name).iterdir()):
                    notes.append(f"{folder / name} holds pictures that are left out: subfolders are not read")
    return notes


def _by_stem(folder: Path, suffixes: Sequence[str], misfits: list[Misfit]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        with os.scandir(folder) as entries:
            by_name = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    for entry in by_name:
        path = folder / entry.name
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if _is_no_file(entry):
            misfits.append(Misfit(path, "no file but a folder, a pipe, a socket or a device"))
            continue
        if path.stem in found:
            misfits.append(Misfit(path, f"second file of this stem, beside {found[path.stem].name}"))
            continue
        found[path.stem] = path
    return found


def _is_no_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is there, and something else: a pipe would never end. The decoder tells of broken links."""
    try:
        return not entry.is_file() and Path(entry.path).exists()
    except OSError:  # a link that goes in circles, or through a folder that may not be entered
        return False
