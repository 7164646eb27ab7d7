"""Mask files: which of them hold class ids, and how each kind is read."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa.labels import BUILT_IN, IGNORE_INDEX, LabelSet
from lisa.labels.encoding import OWN_IDS, SET_OF_ORDER, UNKNOWN, Encoding, how_to_read, known_order

Ids = NDArray[np.integer[Any]]
Colors = NDArray[np.uint8]

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
"""Formats (Pillow's names) that may change an id, and do so along every border."""
LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp", ".avif", ".jp2")
MANY_VALUES = 40
"""More different values than this are no ids: a photo, a depth map, or labels after smooth resizing."""
CHANCE = 2
"""From so many of the labels' colours on, a palette that also has others does not share them by chance."""
NEAR = 24
"""Levels by which JPEG changes colours inside of a region."""
FEW_COLORS = 3
"""Up to so many colours that are no label's were painted; JPEG and smooth resizing leave hundreds."""
MOSTLY = 0.8
"""Share of pixels near a label's colour from which a mask is a damaged one of this project's."""


class _Colors:
    """A label set's colours, and the way back from them to ids."""

    def __init__(self, labels: LabelSet) -> None:
        self.all = np.array([label.color for label in labels.labels], np.uint8)
        levels = np.unique(self.all)
        self._level = np.full(256, len(levels), np.uint32)
        self._level[levels] = np.arange(len(levels))
        base = len(levels) + 1
        self._powers = np.array([base * base, base, 1], np.uint32)
        self._ids = np.full(base**3, UNKNOWN, np.uint8)
        self._ids[(self._level[self.all] * self._powers).sum(1)] = np.arange(len(labels))

    def ids_of(self, colors: Colors) -> NDArray[np.uint8]:
        """Ids (...) of colours (..., 3), UNKNOWN for those that are no label's."""
        levels, powers = self._level[colors], self._powers
        return self._ids[levels[..., 0] * powers[0] + levels[..., 1] * powers[1] + levels[..., 2]]


_colors_of = cache(_Colors)


class MaskError(ValueError):
    """A mask that can't be read as class ids."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        """One of the doctor's kinds of finding."""


class StoredMask(NamedTuple):
    """A mask as its file holds it, before any encoding."""

    ids: Ids
    """(H, W), any integer type."""
    by_color: bool = False
    """The ids were found by the labels' colours: RGB, or a palette whose entries were in another order. They
    are the label set's own then; no encoding is given."""


def read_stored(path: Path, encoding: Encoding = OWN_IDS) -> StoredMask:
    """The ids in a mask file. Raises MaskError if it is no label map, and OSError if it can't be decoded.

    Read are single-channel masks of 2, 4, 8 and 16 bits, palettes, and alpha beside them (which is dropped);
    RGB of three equal channels; and RGB or palettes in the label set's colours, by colour.
    """
    with Image.open(path) as stored:
        if stored.format in LOSSY or stored.info.get("compression") in ("jpeg", "webp"):
            name = "JPEG" if stored.format == "MPO" else stored.format
            raise MaskError(
                "lossy",
                f"is a {name} inside: lossy compression changes ids along every border; export the labels "
                "again as PNG (to convert this file does not bring them back)",
            )
        if stored.mode in ("P", "PA"):
            indices = np.asarray(stored)
            indices = indices if indices.ndim == 2 else indices[..., 0]
            return _by_palette(indices, np.array(stored.getpalette() or [], np.uint8), encoding)
        if stored.mode in ("RGB", "RGBA"):
            _refuse_16_bits(stored)
            return _by_color(np.asarray(stored)[..., :3], encoding)
        if stored.mode in ("L", "LA"):
            _refuse_16_bits(stored)
            factor = _stretch(stored)
            ids = np.asarray(stored) // factor
            return StoredMask(ids if ids.ndim == 2 else ids[..., 0])
        if stored.mode == "1":
            return StoredMask(np.asarray(stored) * np.uint8(255))
        if stored.mode.startswith("I"):
            return StoredMask(np.asarray(stored))
        raise MaskError("ids", f"mode {stored.mode} holds no ids; save masks as 8-bit grey or palette PNG")


def lossy_instead(folder: Path, stem: str) -> str:
    """What to say of a lossy picture that lies where this mask is missing; empty without one."""
    for suffix in LOSSY_SUFFIXES:
        for name in (f"{stem}{suffix}", f"{stem}{suffix.upper()}"):
            if (folder / name).exists():
                return f"; {name} is there, but its lossy compression changes ids: export the labels as PNG"
    return ""


def to_ours(stored: StoredMask, encoding: Encoding = OWN_IDS) -> NDArray[np.uint8]:
    """The label set's ids, uint8 (H, W). Raises MaskError for ids that the encoding does not name."""
    ids = stored.ids
    if stored.by_color:
        return ids.astype(np.uint8)
    table = encoding.table()
    if ids.dtype == np.uint8:
        known = table[ids]
    else:
        known = np.where((ids >= 0) & (ids < 256), table[ids & 255], np.uint8(UNKNOWN))
    unknown = known == UNKNOWN
    if not unknown.any():
        return known
    values = np.unique(ids[unknown])
    if len(values) > MANY_VALUES:
        raise MaskError(
            "ids",
            f"holds {len(values)} values that are no class: a grey picture, or labels that went through "
            f"JPEG or a smooth resize; export the label map itself",
        )
    shown = ", ".join(str(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")
    if not encoding.text:
        highest = len(encoding.labels) - 1
        raise MaskError("ids", f"ids {shown} are out of range (0 to {highest}, {IGNORE_INDEX} = ignore)")
    raise MaskError("ids", f"ids {shown} have no label in the encoding {encoding.text}")


def _refuse_16_bits(stored: Image.Image) -> None:
    """Pillow keeps the high byte of 16-bit colours: every id would be 0."""
    if "16" in _raw_modes(stored):
        raise MaskError("ids", "holds 16 bits a channel; save masks as 8-bit grey or palette PNG")


def _stretch(stored: Image.Image) -> np.uint8:
    """By what Pillow multiplies grey of 2 and 4 bits while it decodes it, so that the highest becomes 255."""
    modes = _raw_modes(stored)
    return np.uint8(85 if "L;2" in modes else 17 if "L;4" in modes else 1)


def _raw_modes(stored: Image.Image) -> str:
    """How the file's pixels are packed; told only until they are decoded."""
    tiles: list[Any] = getattr(stored, "tile", [])
    return " ".join(str(tile[3]) for tile in tiles)


def _by_palette(indices: Colors, palette: Colors, encoding: Encoding) -> StoredMask:
    """Indices are the ids, unless the palette holds the labels' colours in another order.

    PNG optimisers sort palettes by popularity and keep each pixel's colour. So a palette of this project's
    colours is read by colour, and one of anybody else's by index.
    """
    entries = palette.reshape(-1, 3)
    counts = np.bincount(indices.ravel(), minlength=256)[: len(entries)]
    used = np.flatnonzero(counts)
    used = used[used != IGNORE_INDEX]
    colors, by_color = entries[used], _colors_of(encoding.labels).ids_of(entries)[used]
    distinctive = np.isin(colors, (0, 255), invert=True).any(1)
    greys = (entries == entries[:, :1]).all()
    # A set of one's own may have such colours; a palette that is all black tells nothing apart.
    own = encoding.labels.name not in BUILT_IN and not encoding.text
    if greys and own and (by_color != UNKNOWN).all() and len(np.unique(by_color)) == len(used):
        return _renumbered(indices, used, by_color)
    if greys and len(entries) == len(used):  # pngquant's, of a grey mask
        levels = entries[:, 0]
        if not np.isin(levels, (*encoding.ids, IGNORE_INDEX)).all():
            return StoredMask(indices)
        return StoredMask(levels[indices], by_color=not encoding.text and not np.array_equal(levels, used))
    theirs = _order_of_palette(used, colors)
    if encoding.text and theirs:
        return StoredMask(indices)  # as the file's author wrote it: ids, and their own colours
    moved = (by_color != UNKNOWN) & (by_color != used) & distinctive
    if not moved.any() or _named_in_order(used, by_color, encoding):
        return StoredMask(indices)
    # Sets share colours: coarse's facial parts have those of celebamask's mouth.
    of_another_set = theirs != "" and SET_OF_ORDER[theirs] != encoding.labels.name
    if (by_color == UNKNOWN).any() and moved.sum() < CHANCE and not of_another_set:
        return StoredMask(indices)
    if theirs and (of_another_set or (by_color == UNKNOWN).any()):
        raise MaskError(
            "colours", f"its palette is that of the order {theirs}: {how_to_read(theirs, encoding.labels)}"
        )
    if (by_color == UNKNOWN).any():
        strange = tuple(colors[by_color == UNKNOWN][0].tolist())
        raise MaskError(
            "colours",
            f"its palette has labels' colours in another order, and others (such as {strange}): save the "
            f"ids without a palette",
        )
    if encoding.text:
        raise MaskError(
            "colours",
            f"its palette's order is neither that of the labels nor {encoding.text}: save the ids without a "
            f"palette",
        )
    return _renumbered(indices, used, by_color)


def _renumbered(indices: Colors, used: Ids, by_color: Ids) -> StoredMask:
    """The ids that the labels' colours tell of a palette's indices."""
    table = np.arange(256, dtype=np.uint8)
    table[used] = by_color
    return StoredMask(table[indices], by_color=not np.array_equal(used, by_color))


def _order_of_palette(used: Ids, colors: Colors) -> str:
    """The known order whose labels have these colours at these ids; empty if there is none."""
    for order, palette in _palettes().items():
        if used.max(initial=0) < len(palette) and np.array_equal(palette[used], colors):
            return order
    return ""


@cache
def _palettes() -> dict[str, Colors]:
    """The colours of known orders by id, (C,3) each."""
    found: dict[str, Colors] = {}
    for order in ("celebamask-hq", "face-parsing.pytorch", *BUILT_IN[1:]):
        known = known_order(order)
        assert known is not None
        labels, ids = known
        found[order] = np.array([labels.labels[labels.ids[name]].color for name in ids.values()], np.uint8)
    return found


def _named_in_order(used: Ids, by_color: Ids, encoding: Encoding) -> bool:
    """Whether these palette entries have the colours of the labels that the encoding gives them."""
    return bool(encoding.text) and bool((encoding.table()[used] == by_color).all())


def _by_color(pixels: Colors, encoding: Encoding) -> StoredMask:
    """RGB pixels (H, W, 3) in the labels' colours; or the ids themselves where the channels are equal.

    A set of one's own may have black, grey and white alone in a picture: greys that all are colours of labels
    are no ids. An encoding says what ids mean, and colours have none: it would be left unheard.
    """
    labels = encoding.labels
    red, green, blue = (pixels[..., channel] for channel in range(3))
    equal = np.array_equal(red, green) and np.array_equal(red, blue)
    if equal and (encoding.text or labels.name in BUILT_IN):
        return StoredMask(red)
    colors = _colors_of(labels)
    ids = colors.ids_of(pixels)
    unknown = ids == UNKNOWN
    if equal and (unknown.any() or np.array_equal(ids, red)):
        return StoredMask(red)
    if not unknown.any():
        if encoding.text:
            raise MaskError(
                "colours",
                f"has the labels' colours, which name no ids: leave out {encoding.text}, or save the ids as "
                "8-bit grey",
            )
        return StoredMask(ids, by_color=True)
    if not (colors.ids_of(pixels[..., ::-1]) == UNKNOWN).any():
        raise MaskError(
            "colours",
            "has the labels' colours with red and blue exchanged, as OpenCV saves RGB arrays: exchange them "
            "back, or save the ids",
        )
    strange = _different(pixels[unknown])
    if len(strange) <= FEW_COLORS:
        shown = " or ".join(map(str, strange))
        raise MaskError(
            "colours",
            f"{unknown.mean():.1%} of its pixels have no label's colour, but {shown}: "
            f"save the ids of label set {labels.name} as 8-bit grey, with 255 for what is to be ignored",
        )
    few = pixels.reshape(-1, 3)[:: max(1, unknown.size // 1000), None].astype(int)
    damaged = (abs(few - colors.all).max(-1).min(-1) <= NEAR).mean() > MOSTLY
    cause = (
        "it went through JPEG, a smooth resize or blending; export it again"
        if damaged
        else f"of colourings other than that of label set {labels.name}, save the ids as 8-bit grey"
    )
    raise MaskError(
        "colours", f"{unknown.mean():.1%} of its pixels have no label's colour, such as {strange[0]}: {cause}"
    )


def _different(colors: Colors) -> list[tuple[int, int, int]]:
    """The different ones of colours (N, 3); some of them where there are more than FEW_COLORS."""
    found = np.empty(0)
    for some in (colors[:: max(1, len(colors) // 1000)], colors):  # to sort all of a photograph takes long
        found = np.unique(some @ np.array([1 << 16, 1 << 8, 1]))
        if len(found) > FEW_COLORS:
            break
    return [(code >> 16, code >> 8 & 255, code & 255) for code in found.tolist()]
