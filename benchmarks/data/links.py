"""A folder of so many faces, as links: equal work from a data set of any size."""

from pathlib import Path

from lisa.data.folders import find_pairs


def link_faces(data: Path, folder: Path, train: int, val: int) -> Path:
    """Links ``train`` and ``val`` pairs of ``data`` into ``folder``; pairs repeat where there are fewer."""
    for split, count in (("train", train), ("val", val)):
        pairs = find_pairs(data, split)
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for number in range(count):
            pair = pairs[number % len(pairs)]
            for kind, path in (("images", pair.image), ("masks", pair.mask)):
                (folder / split / kind / f"{number}{path.suffix}").symlink_to(path.resolve())
    return folder
