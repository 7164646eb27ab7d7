"""Whether the pairs of a split can be trained on: each of them, and its masks together."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lisa.data.color_sets import set_of_colors
from lisa.data.exif import UPRIGHT
from lisa.data.layouts import Layout, layout_of
from lisa.data.mask_checks import RIMMED, rim_share
from lisa.data.mask_formats import MANY_VALUES, Ids
from lisa.data.mask_sets import Verdict, judge
from lisa.data.pairs import REMEDY, Decoded, Pair, PairError, PairFault, decode_stored, stored_mask
from lisa.errors import InputError, listing
from lisa.labels import IGNORE_INDEX, LabelSet
from lisa.labels.encoding import Encoding

EXPLAINED = ("ids", "binary")
"""Kinds of faults in single masks that a verdict on all of them explains."""


JUDGED = 1000
"""Masks, evenly spread, from whose layouts a split is judged: each takes a kilobyte on every rank."""


class Look(NamedTuple):
    """What was seen in one pair."""

    decoded: Decoded | None
    fault: PairFault | None
    """Why it can't be used; None if it can."""
    counts: NDArray[np.int64]
    """Pixels per id (256,); meaningless if it can't be used."""
    layout: Layout | None
    """Where the mask's stored ids lie; None if the mask can't be read."""
    ignored: bool
    """Some pixel of the mask is 255, which no label is."""
    by_color: bool
    """The mask was read by its colours."""


class Checked(NamedTuple):
    """A split that can be trained on."""

    class_counts: NDArray[np.int64]
    """All masks' pixels per class, (C,)."""
    notes: tuple[str, ...]
    """What the user should know of how the masks were read."""


def look_at(pair: Pair) -> Look:
    """Decodes a pair once and checks it."""
    decoded, layout, ignored, by_color = None, None, False, False
    counts = np.zeros(256, np.int64)
    try:
        stored = stored_mask(pair)
        ignores = pair.encoding.ignores_255
        values = layout_of(stored.ids, ignores)
        ignored, by_color = ignores and bool((stored.ids == IGNORE_INDEX).any()), stored.by_color
        if len(values.values) <= MANY_VALUES:
            _refuse_rims(pair, stored.ids)
            layout = values  # of a true label map, even if its ids are no classes
        decoded = decode_stored(pair, stored)
        counts = np.bincount(np.asarray(decoded.mask).ravel(), minlength=256)
        if values.values.tolist() == [0] and ignored:
            _refuse_binary(pair)
        return Look(decoded, None, counts, layout, ignored, by_color)
    except PairError as error:
        return Look(decoded, error.fault, counts, layout, ignored, by_color)


def _refuse_rims(pair: Pair, ids: Ids) -> None:
    share = rim_share(ids)
    if share > RIMMED:
        raise PairError(
            pair.mask,
            "rims",
            f"{share:.0%} of its borders are thin rims of other ids: it went through JPEG or a smooth "
            "resize; export it again as PNG and resize masks by nearest neighbour only",
        )


def _refuse_binary(pair: Pair) -> None:
    raise PairError(
        pair.mask,
        "binary",
        "no values but 0 and 255: a binary mask, and 255 would be ignored as no label; if it is one, give "
        f"--data.encoding 0={pair.encoding.labels.names[0]},255=LABEL",
    )


def judge_looks(looks: Sequence[Look], encoding: Encoding) -> Verdict | None:
    """What is wrong with all of a split's masks, or None."""
    layouts = [look.layout for look in looks if look.layout is not None]
    return judge(layouts, encoding, any(look.ignored for look in looks), _colored(looks))


def _colored(looks: Sequence[Look]) -> list[Layout]:
    return [look.layout for look in looks if look.layout is not None and look.by_color]


def notes_on(looks: Sequence[Look], labels: LabelSet) -> tuple[str, ...]:
    """What the user should know of how these masks were read."""
    by_color = sum(look.by_color for look in looks)
    if not by_color:
        return ()
    theirs = set_of_colors(_colored(looks), labels).note
    return (
        f"{by_color} of {len(looks)} masks were read by their colours, which are the label set's",
        *([f"{theirs} if that is meant"] if theirs else []),
    )


def ignored_notes(encoding: Encoding) -> list[str]:
    """What the user should know of labels that the masks have and the label set has not."""
    if not encoding.ignored:
        return []
    return [f"without a label in {encoding.labels.name}, so ignored: {', '.join(encoding.ignored)}"]


def turning_notes(pairs: Sequence[Pair]) -> tuple[str, ...]:
    """What the user should know of masks that are turned with their pictures."""
    turned = sum(pair.turn != UPRIGHT for pair in pairs)
    if not turned:
        return ()
    return (
        f"{turned} of {len(pairs)} masks were drawn on stored pixels: EXIF turns them with their pictures",
    )


def _alone(action: Callable[[], Any]) -> list[Any]:
    return [action()]


def check_pairs(
    pairs: Sequence[Pair],
    gather: Callable[[Callable[[], Any]], list[Any]] = _alone,
    rank: int = 0,
    world_size: int = 1,
) -> Checked:
    """Decodes every pair once, each rank its share.

    ``gather`` collects what an action gives on every rank (``World.gather_patiently``): one with a slow disk
    may take far longer than the others.

    Raises:
        InputError: the same on all ranks: pairs that can't be used, or masks that all are no label maps or
        clearly are in another label order.
    """
    encoding = pairs[0].encoding
    shares = gather(lambda: _look_at_share(pairs, rank, world_size))
    looks: list[Look] = [look for share, _ in shares for look in share]
    verdict = judge_looks(looks, encoding)
    faults = [look.fault for look in looks if look.fault is not None]
    if verdict is not None:
        faults = [fault for fault in faults if fault.kind not in EXPLAINED]
    told = [f"{pairs[0].mask.parent}: {verdict.detail}"] if verdict is not None else []
    if faults:
        lines = listing(sorted(map(str, faults)))
        told.append(f"{len(faults)} of {len(pairs)} pairs can't be used; {REMEDY}:\n{lines}")
    if told:
        raise InputError("\n".join(told))
    counts = np.sum([counts for _, counts in shares], axis=0)
    if not counts[1 : len(encoding.labels)].any():
        raise InputError(
            f"{pairs[0].mask.parent}: no pixel has a label of {encoding.labels.name} but "
            f"{encoding.labels.names[0]} under --data.encoding {encoding.text!r}: there is nothing to learn"
        )
    return Checked(counts[: len(encoding.labels)], notes_on(looks, encoding.labels) + turning_notes(pairs))


def _look_at_share(pairs: Sequence[Pair], rank: int, world_size: int) -> tuple[list[Look], NDArray[np.int64]]:
    """One rank's looks, without their pixels, and the pixels of each id."""
    every = -(-len(pairs) // JUDGED)
    counts = np.zeros(256, np.int64)
    looks: list[Look] = []
    with ThreadPoolExecutor() as pool:
        for index, look in enumerate(pool.map(_look_without_pixels, pairs[rank::world_size])):
            counts += look.counts if look.fault is None else 0
            layout = look.layout if (rank + index * world_size) % every == 0 else None
            looks.append(look._replace(counts=np.zeros(0, np.int64), layout=layout))
    return looks, counts


def _look_without_pixels(pair: Pair) -> Look:
    return look_at(pair)._replace(decoded=None)
