"""Which way a mask was drawn whose picture has an EXIF orientation.

Every picture is turned as EXIF says, as the predictor does. A mask drawn on what a viewer shows fits then.
One drawn on the stored pixels, by a tool that ignores the orientation, must be turned with its picture. No
file says which it is. The sizes tell where width and height change places; elsewhere the mask's edges do, for
they lie on edges of the picture. Most data sets were drawn in one way: all of a split's pictures decide
together, and each for itself only if they disagree.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa.data.evenly import evenly
from lisa.data.exif import (
    MIRRORED,
    SIDEWAYS,
    TURNS,
    UNREADABLE,
    UPRIGHT,
    open_picture,
    orientation_of,
    shown_size,
)
from lisa.data.mask_checks import middle_of
from lisa.data.pairs import Pair, decode, fits
from lisa.data.pictures import upright
from lisa.errors import InputError

CLEAR = 0.05
"""Margin of the edges from which one picture tells how its mask was drawn; n together need 1/sqrt(n) of it.

On 847 pictures of CelebAMask-HQ, each turned in 7 ways, and 120 drawn ones, no picture told the wrong
way, and 2 (0.03 %) told nothing: both of orientation 2, in which a face is nearly its own mirror image. Drawn
at random from them, pools of 2 and more always told the right way."""

SIDE = 192
"""Pictures and masks are compared at this size."""

SAMPLE = 200
"""So many pictures of a split are compared, or all if those do not agree."""

UNDECIDED = (
    "its picture has an EXIF orientation, and neither sizes nor edges tell whether the mask was drawn before "
    "or after turning: turn the picture for good if it was after (mogrify -auto-orient), else remove the "
    "orientation (exiftool -Orientation=)"
)
"""What users are told of undecided masks."""


class Settled(NamedTuple):
    """Pairs whose masks can be laid over their pictures, and those of which it is unknown how."""

    pairs: list[Pair]
    undecided: list[Pair]


class _Clue(NamedTuple):
    """What a pair's files tell without their pixels."""

    turn: int
    """The orientation by which the mask may have to be turned; UPRIGHT if it certainly need not be."""
    margin: float
    """1: drawn as shown, -1: drawn on stored pixels, 0: either."""


def settle_orientations(pairs: Sequence[Pair]) -> Settled:
    """Finds out which masks must be turned, and sets ``turn`` and ``swap`` of their pairs.

    Files that can't be read are left to whoever decodes them. Nothing but the files decides, so that every
    process finds the same.
    """
    with ThreadPoolExecutor() as pool:
        clues = dict(zip(pairs, pool.map(_by_sizes, pairs), strict=True))
        margins = {pair: clue.margin for pair, clue in clues.items() if clue.margin != 0}
        unknown = [pair for pair, clue in clues.items() if clue.turn != UPRIGHT and clue.margin == 0]
        together = 0
        for looked_at in (evenly(unknown, SAMPLE), unknown):
            new = [pair for pair in looked_at if pair not in margins]
            turns = [clues[pair].turn for pair in new]
            margins.update(zip(new, pool.map(_by_edges, new, turns), strict=True))
            together = _verdict([margin for margin in margins.values() if not math.isnan(margin)])
            if together:
                break

    def drawn(pair: Pair) -> int:
        own = margins.get(pair, 0)
        if together or math.isnan(own):
            return together
        return int(math.copysign(1, own)) if abs(own) >= CLEAR else 0

    tagged = [pair for pair, clue in clues.items() if clue.turn != UPRIGHT]
    unreadable = {pair for pair, margin in margins.items() if math.isnan(margin)}
    undecided = [pair for pair in tagged if drawn(pair) == 0 and pair not in unreadable]
    turned = {pair: pair._replace(turn=clues[pair].turn) for pair in tagged if drawn(pair) < 0}
    mirrored = {pair: new for pair, new in turned.items() if new.turn in MIRRORED}
    if mirrored and not _sides_are_right(list(mirrored.values())):
        turned |= {pair: new._replace(swap=True) for pair, new in mirrored.items()}
    left_out = set(undecided)
    return Settled([turned.get(pair, pair) for pair in pairs if pair not in left_out], undecided)


def _verdict(margins: Sequence[float]) -> int:
    """1 if these masks were drawn as shown, -1 on stored pixels, 0 if they do not agree or say too little."""
    if not margins:
        return 0
    mean = sum(margins) / len(margins)
    sign = 1 if mean > 0 else -1
    opposed = any(sign * margin <= -CLEAR for margin in margins)
    return 0 if opposed or abs(mean) < CLEAR / math.sqrt(len(margins)) else sign


def _by_sizes(pair: Pair) -> _Clue:
    turn = orientation_of(pair.image)
    if turn == UPRIGHT:
        turn = orientation_of(pair.mask)
        if turn == UPRIGHT:
            return _Clue(UPRIGHT, 0)
    try:
        with open_picture(pair.image) as image, Image.open(pair.mask) as mask:
            shown, width, height = shown_size(image, orientation_of(pair.image)), *mask.size
    except UNREADABLE:
        return _Clue(UPRIGHT, 0)
    as_it_is = fits((width, height), shown)
    after_turning = fits((height, width) if turn in SIDEWAYS else (width, height), shown)
    return _Clue(turn if as_it_is or after_turning else UPRIGHT, float(as_it_is) - float(after_turning))


def _by_edges(pair: Pair, turn: int) -> float:
    """How much better the mask's edges fit those of the picture as it is than turned; NaN if unreadable.

    An edge's strength is its rank among the picture's gradients, from 0 to 1 and 0.5 on average; compared are
    the mean strengths below the borders between labels.
    """
    try:
        with open_picture(pair.image) as stored:
            stored.draft("RGB", (SIDE, SIDE))
            grey = upright(stored).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        with Image.open(pair.mask) as stored:
            mask = stored.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    except UNREADABLE:
        return math.nan
    strengths = _ranks(_gradient(np.asarray(grey, np.float64)))
    means: list[float] = []
    for candidate in (mask, mask.transpose(TURNS[turn])):
        border = _border(np.asarray(candidate))
        means.append(float(strengths[border].mean()) if border.any() else 0.5)
    return 2 * (means[0] - means[1])


def _gradient(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """How fast grey levels change at each pixel."""
    down, right = np.gradient(grey)
    return np.hypot(down, right)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value's rank among all, as a share; equal values have the mean of their ranks."""
    ordered = np.sort(values, axis=None)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (below + upto) / (2 * values.size)


def _border(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels (H,W) beside another colour, of a mask (H,W,3)."""
    border = np.zeros(mask.shape[:2], bool)
    down, right = (mask[1:] != mask[:-1]).any(2), (mask[:, 1:] != mask[:, :-1]).any(2)
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border


def _sides_are_right(pairs: Sequence[Pair]) -> bool:
    """Whether left and right are the person's after these masks have been turned by a mirrored orientation.

    They are in masks that were drawn upright and turned back with their pictures. Whoever drew on the
    mirrored pixels called left what looked so; without a face to look at that is assumed.
    """
    return sum(_side(pair) for pair in evenly(pairs, SAMPLE)) > 0


def _side(pair: Pair) -> float:
    """1 if the left eye and brow are the person's, however the head is tilted, -1 if not, 0 if unknown."""
    try:
        ids = np.asarray(decode(pair).mask)
    except InputError:
        return 0
    labels = pair.encoding.labels
    left, right = (middle_of(ids, labels, (f"{side}_eye", f"{side}_brow")) for side in ("left", "right"))
    mouth = middle_of(ids, labels, ("mouth", "upper_lip", "lower_lip"))
    if left is None or right is None or mouth is None:
        return 0
    across, down = left - right, mouth - (left + right) / 2
    return float(np.sign(across[0] * down[1] - across[1] * down[0]))
