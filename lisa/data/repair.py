"""Repairs masks whose left and right are reversed, while they are read."""

from collections.abc import Sequence
from pathlib import Path

from lisa.data.file_lists import read_file_list
from lisa.data.pairs import Pair
from lisa.errors import InputError

OPTION = "data.repair"


def repair_sides(pairs: Sequence[Pair], path: str, root: str) -> list[Pair]:
    """The pairs, with left and right labels exchanged in those that the list at ``path`` names.

    The list names pictures or masks under ``root``, as ``lisa.data.doctor --repair-to`` writes it; files of
    other splits on it change nothing.

    Raises:
        InputError: the list can't be read or names files that are not there, or the label set tells no left
            from right.
    """
    labels = pairs[0].encoding.labels
    if not labels.flip_pairs:
        raise InputError(f"{OPTION} {path}: label set {labels.name} tells no left from right")
    listed = read_file_list(Path(path), Path(root), OPTION)
    return [
        pair if listed.isdisjoint((pair.image, pair.mask)) else pair._replace(swap=not pair.swap)
        for pair in pairs
    ]
