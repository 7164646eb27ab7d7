"""What the doctor looks for in one picture and its mask."""

from dataclasses import dataclass, field
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lisa.data.checking import Look, look_at
from lisa.data.mask_checks import alone, middle_of
from lisa.data.pairs import Pair
from lisa.labels import IGNORE_INDEX, LabelSet

Mask = NDArray[np.uint8]
Vector = NDArray[np.float64]

HASH_SIDE = 16
"""Perceptual hashes of 16x16 bits: with 8x8, portraits of different people collide."""
LARGE_SKIN = 0.08
"""Share of the picture from which skin must come with eyes and a nose."""
SPECK = 1e-4
"""Components smaller than this share of the picture are specks: 26 pixels at 512x512."""
SPECKLED = 40
"""More specks than this are a fault; the 99th percentile of CelebAMask-HQ is 35."""
TOLERANCE = 0.03
"""Distance, as a share of the picture's side, by which a part must be on the wrong side."""
WRONG_SHARE = 0.35
"""Share of a lone part's pixels beyond the midline from which it is called wrong."""


@dataclass(frozen=True)
class Finding:
    """One fault: its kind, the file at fault, and what exactly was seen."""

    kind: str
    file: Path
    detail: str
    whole_split: bool = False
    """All masks are at fault; ``file`` is their folder."""
    mended_by_swap: bool = False
    """With left and right labels exchanged the mask has no such fault."""


@dataclass(frozen=True)
class Examination:
    """What was seen in one pair."""

    pair: Pair
    findings: tuple[Finding, ...]
    look: Look
    """What training's check sees, without the pixels."""
    fingerprint: NDArray[np.bool_] | None = field(default=None, compare=False)
    """Perceptual hash of the picture (256,)."""


def examine(pair: Pair) -> Examination:
    """Look at one pair as training does, and closer if it can be used."""
    seen = look_at(pair)
    look = seen._replace(decoded=None)
    if seen.fault is not None or seen.decoded is None:
        return Examination(pair, tuple(Finding(f.kind, f.file, f.detail) for f in [seen.fault] if f), look)
    mask, labels = np.asarray(seen.decoded.mask), pair.encoding.labels
    sides = reversed_parts(mask, labels)
    mended = bool(sides) and not reversed_parts(labels.flip_table()[mask], labels)
    findings = [
        finding
        for finding in (
            Finding("empty", pair.mask, nothing_labelled(seen.counts)),
            Finding("left-right", pair.image, sides, mended_by_swap=mended),
            Finding("missing", pair.image, missing_parts(seen.counts, labels)),
            Finding("speckle", pair.image, speckle(mask, labels)),
        )
        if finding.detail
    ]
    return Examination(pair, tuple(findings), look, fingerprint(seen.decoded.image))


def fingerprint(picture: Image.Image) -> NDArray[np.bool_]:
    """Perceptual hash (256,): copies differ in few bits after recompression, scaling or brightening."""
    return imagehash.phash(picture, hash_size=HASH_SIDE).hash.ravel()


def nothing_labelled(counts: NDArray[np.int64]) -> str:
    """Whether a mask is all background or all ignored; empty if it is not."""
    values = np.flatnonzero(counts).tolist()
    if len(values) != 1:
        return ""
    return {0: "all of it is background", IGNORE_INDEX: "all of it is ignored"}.get(values[0], "")


def missing_parts(counts: NDArray[np.int64], labels: LabelSet) -> str:
    """Eyes or a nose that a large face lacks; glasses may hide the eyes. Empty if nothing is missing.

    Only parts with a label of their own are missed, and eyes only where glasses have one too.
    """
    total = counts[:IGNORE_INDEX].sum()
    skin = labels.by_role.get("skin")
    if total == 0 or skin is None or counts[skin] < LARGE_SKIN * total:
        return ""
    eyes, nose = alone(labels, ("left_eye", "right_eye", "glasses")), alone(labels, ("nose",))
    lacking = ["eyes"] if len(eyes) == 3 and not counts[eyes].any() else []
    lacking += ["nose"] if nose and not counts[nose].any() else []
    share = 100 * counts[skin] / total
    return f"no {' and no '.join(lacking)}, though {share:.0f} % is skin" if lacking else ""


def speckle(mask: Mask, labels: LabelSet) -> str:
    """Many tiny islands of a label; empty if there are few."""
    limit = SPECK * mask.size
    specks: dict[str, int] = {}
    for index, box in enumerate(ndimage.find_objects(mask.astype(np.int32) + 1)):
        if box is None or index == IGNORE_INDEX:
            continue
        components = np.empty(mask[box].shape, np.int32)
        ndimage.label(mask[box] == index, structure=np.ones((3, 3)), output=components)
        areas = np.bincount(components.ravel())[1:]
        specks[labels.names[index]] = int((areas < limit).sum())
    total = sum(specks.values())
    if total <= SPECKLED:
        return ""
    worst = sorted(specks, key=lambda name: -specks[name])[:2]
    return f"{total} islands under {limit:.0f} pixels, most in {' and '.join(worst)}"


def reversed_parts(mask: Mask, labels: LabelSet) -> str:
    """Left and right eyes, brows and ears that lie on the wrong sides; empty if none do.

    The person's left is the picture's right of the face's own midline, however it is tilted. Where both of a
    pair show, their order decides, which holds for profiles too. A lone one is compared with the midline
    through nose and mouth, and with tolerance: in a profile the nose stands far out.
    """
    center, across = _midline(mask, labels)
    if center is None:
        return ""
    margin = TOLERANCE * min(mask.shape)
    wrong: list[str] = []
    for name in ("eye", "brow", "ear"):
        pair = alone(labels, (f"left_{name}", f"right_{name}"))
        if len(pair) < 2:
            continue
        left, right = pair
        sides = [_offsets(mask, index, center, across) for index in pair]
        if all(len(side) for side in sides):
            if sides[0].mean() - sides[1].mean() < -margin:
                wrong.append(f"{name}s")
        elif len(sides[0]) and (sides[0] < -margin).mean() > WRONG_SHARE:
            wrong.append(labels.names[left])
        elif len(sides[1]) and (sides[1] > margin).mean() > WRONG_SHARE:
            wrong.append(labels.names[right])
    return f"{', '.join(wrong)} on the wrong side of the face" if wrong else ""


def _offsets(mask: Mask, index: int, center: Vector, across: Vector) -> Vector:
    """How far each pixel of a label lies towards the person's left of the midline, (N,) pixels."""
    rows, columns = np.nonzero(mask == index)
    if len(rows) < 1e-5 * mask.size:
        return np.zeros(0)
    return (columns - center[0]) * across[0] + (rows - center[1]) * across[1]


def _midline(mask: Mask, labels: LabelSet) -> tuple[Vector | None, Vector]:
    """A point (x, y) on the face's midline, and the unit vector from it to the person's left.

    Upright unless nose and mouth say otherwise; no point without a nose or a mouth.
    """
    nose = middle_of(mask, labels, ("nose",))
    mouth = middle_of(mask, labels, ("mouth", "upper_lip", "lower_lip"))
    left, right = (middle_of(mask, labels, (role,)) for role in ("left_eye", "right_eye"))
    upper = nose if left is None or right is None else (left + right) / 2
    across = np.array((1.0, 0.0))
    if upper is not None and mouth is not None:
        down = mouth - upper
        length = float(np.hypot(*down))
        if length > TOLERANCE * min(mask.shape):
            across = np.array((down[1], -down[0])) / length
    return (nose if nose is not None else mouth), across
