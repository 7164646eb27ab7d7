"""What the raw CelebAMask-HQ release holds: pictures, part masks and the official split.

Layout: ``CelebA-HQ-img/{0..29999}.jpg``, ``CelebAMask-HQ-mask-anno/{0..14}/{index:05d}_{part}.png`` and
``CelebA-HQ-to-CelebA-mapping.txt``. Source: https://github.com/switchablenorms/CelebAMask-HQ
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lisa.data.pairs import IMAGE_SUFFIXES
from lisa.errors import InputError, listing
from lisa.labels import NAMES
from lisa.system.files import read_text

PICTURES = "CelebA-HQ-img"
PARTS = "CelebAMask-HQ-mask-anno"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"

FIRST_VAL, FIRST_TEST = 162771, 182638
"""CelebA's official split: train up to the first, val from there, test from the second index on."""
REPORT_SIZES = {"train": 5000, "val": 1000, "test": 100}
"""The report's split of the first experiments."""


def find_folder(source: Path, name: str) -> Path:
    """The folder ``name`` in ``source``.

    Raises:
        InputError: it isn't there; the message points at what looks like it.
    """
    folder = source / name
    if folder.is_dir():
        return folder
    if not source.is_dir():
        raise InputError(f"--source {source} is not a folder; give the unpacked CelebAMask-HQ release")
    folders = sorted(item.name for item in source.iterdir() if item.is_dir())
    alike = [item for item in folders if _letters(item) == _letters(name)]
    if alike:
        raise InputError(f"{source} has a folder {alike[0]}, which should be called {name}: rename it")
    inner = [item for item in folders if (source / item / name).is_dir()]
    if inner:
        raise InputError(
            f"{folder} is missing, but {source / inner[0] / name} is there; give --source {source / inner[0]}"
        )
    raise InputError(
        f"{folder} is missing ({source} has {', '.join(folders[:5]) or 'no folders'}); "
        "give the unpacked CelebAMask-HQ release as --source"
    )


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def list_pictures(folder: Path) -> dict[int, Path]:
    """Path of each picture by its index: 1.jpg, or as a copy may have it, 00001.jpg, 1.JPG or 1.png.

    Raises:
        InputError: no pictures, several for one index, or an unreadable folder.
    """
    pictures: dict[int, Path] = {}
    several: list[str] = []
    for path in _files(folder):
        if path.suffix.lower() not in IMAGE_SUFFIXES or not path.stem.isdecimal():
            continue
        if pictures.setdefault(int(path.stem), path) != path:
            several.append(f"{path} beside {pictures[int(path.stem)].name}")
    if several:
        raise InputError(f"faces with more than one picture; move away all but one:\n{listing(several)}")
    if not pictures:
        raise InputError(f"{folder} has no pictures named 0.jpg, 1.jpg, ...; is the release unpacked fully?")
    return dict(sorted(pictures.items()))


def _files(folder: Path) -> list[Path]:
    """The folder's entries, sorted, without hidden ones such as macOS's ._00001_hair.png."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"can't list {folder}: {error.strerror}; repair or unpack it again") from error


def list_parts(folder: Path) -> dict[int, dict[str, Path]]:
    """Paths of the part masks by index and part name.

    Raises:
        InputError: a part that CelebAMask-HQ doesn't have, one that comes twice, or an unreadable folder.
    """
    parts: dict[int, dict[str, Path]] = defaultdict(dict)
    strange: list[str] = []
    several: list[str] = []
    entries = _files(folder)
    subfolders = [path for path in entries if path.name.isdecimal()]
    for path in (file for files in (entries, *map(_files, subfolders)) for file in files):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        number, _, part = path.stem.partition("_")
        if path.suffix.lower() != ".png" or not number.isdecimal() or part not in NAMES[1:]:
            strange.append(str(path))
        elif parts[int(number)].setdefault(part, path) != path:
            several.append(f"{path} beside {parts[int(number)][part]}")
    if several:
        raise InputError(f"parts that come twice; move away all but one:\n{listing(several)}")
    if strange:
        raise InputError(
            f"files that aren't INDEX_PART.png with a part of CelebAMask-HQ ({', '.join(NAMES[1:])}); "
            f"move them away:\n{listing(strange)}"
        )
    return dict(parts)


def check_complete(pictures: Mapping[int, Path], parts: Mapping[int, Mapping[str, Path]]) -> None:
    """Raises InputError for pictures without part masks or the reverse: an unpacking stopped early, say."""
    bare = [str(path) for index, path in pictures.items() if index not in parts]
    orphans = [str(next(iter(parts[index].values()))) for index in sorted(parts) if index not in pictures]
    if bare:
        raise InputError(
            f"{len(bare)} pictures have no part masks; unpack the release again:\n{listing(bare)}"
        )
    if orphans:
        raise InputError(f"{len(orphans)} faces have part masks but no picture:\n{listing(orphans)}")


def official_split(source: Path, indices: Sequence[int]) -> dict[int, str]:
    """CelebA's own split for each index, through the release's mapping file.

    Raises:
        InputError: no mapping, a line that can't be read, or an index that it doesn't list.
    """
    path = source / MAPPING
    if not path.exists():
        raise InputError(f"{path} is missing; put the release's mapping there, or give --split report")
    original: dict[int, int] = {}
    for number, line in enumerate(read_text(path, "the mapping").splitlines(), start=1):
        words = line.split()
        if not words or (number == 1 and not words[0].isdecimal()):  # the header, which a copy may lack
            continue
        if len(words) < 2 or not (words[0].isdecimal() and words[1].isdecimal()):
            raise InputError(f"{path} line {number} is {line!r}; expected 'idx orig_idx orig_file'")
        if original.setdefault(int(words[0]), int(words[1])) != int(words[1]):
            raise InputError(f"{path} line {number} gives {words[0]} another original than a line before it")
    unlisted = [str(index) for index in indices if index not in original]
    if unlisted:
        raise InputError(f"{path} doesn't list {len(unlisted)} of the pictures:\n{listing(unlisted)}")
    return {index: _split_of(original[index]) for index in indices}


def _split_of(original: int) -> str:
    if original < FIRST_VAL:
        return "train"
    return "val" if original < FIRST_TEST else "test"


def report_split(indices: Sequence[int], seed: int) -> dict[int, str]:
    """5,000 train, 1,000 val and 100 test faces drawn with ``seed``, disjoint; the rest is left out.

    Raises:
        InputError: fewer faces than that, or a seed below 0.
    """
    if seed < 0:
        raise InputError(f"--seed {seed}: 0 or more")
    needed = sum(REPORT_SIZES.values())
    if len(indices) < needed:
        raise InputError(
            f"--split report needs {needed:,} pictures and the source has {len(indices):,}; "
            "unpack the whole release or give --split official"
        )
    shuffled = np.random.default_rng(seed).permutation(np.array(sorted(indices))).tolist()
    chosen: dict[int, str] = {}
    for split, size in REPORT_SIZES.items():
        taken, shuffled = shuffled[:size], shuffled[size:]
        chosen.update(dict.fromkeys(taken, split))
    return dict(sorted(chosen.items()))
