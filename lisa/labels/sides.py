"""What the names of labels tell about left and right."""

import re

OTHER = {"left": "right", "right": "left", "l": "r", "r": "l"}
_WORD = re.compile(r"(?<![a-z])(left|right)|(left|right)(?![a-z])|(?<![a-z])[lr](?![a-z])")
"""The word in a label's name that says its side, after :func:`plain_name`."""


def plain_name(name: str) -> str:
    """LeftEye and Left-Eye as left_eye."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_")


def mirrored(plain: str) -> str:
    """A plain name with its side's word exchanged, if it has one: right_eye of left_eye, r_hand of l_hand."""
    return _WORD.sub(lambda side: OTHER[side[0]], plain)


def opposite(plain: str) -> str:
    """A plain name with left or right, as its own word, exchanged: l_lip and bright_hair have none."""
    return re.sub(r"(?<![a-z])(left|right)(?![a-z])", lambda side: OTHER[side[0]], plain)


def other_sides(plain: str) -> list[str]:
    """What the other side of a plain name may be called; also reye of leye, and eyer of eyel."""
    first, last = plain[0], plain[-1]
    found = [mirrored(plain), OTHER.get(first, first) + plain[1:], plain[:-1] + OTHER.get(last, last)]
    if len(plain) > 1:  # rur of lul: a left part's left half
        found.append(OTHER.get(first, first) + plain[1:-1] + OTHER.get(last, last))
    return [each for each in found if each != plain]
