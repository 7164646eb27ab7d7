"""What a synthetic portrait shows: drawn at random at the real set's rates, or planned for a whole set."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Traits:
    """The attributes that decide which classes a portrait's mask holds."""

    glasses: bool
    """Clear glasses or sunglasses (eye_g)."""
    hat: bool
    """A cap, a woollen hat or a brimmed hat."""
    necklace: bool
    """A chain, with or without a pendant (neck_l)."""
    earring: bool
    """One kind at each ear that shows, at least one, and perhaps before the hair of the other (ear_r)."""
    left_ear: bool
    """The person's left ear, on the right half of the picture, shows."""
    right_ear: bool
    """The person's right ear shows."""
    open_mouth: bool
    """Teeth or the inside of the mouth show (mouth)."""
    cloth: bool
    """Clothes reach into the frame."""
    bald: bool
    """No hair at all."""


RATES: dict[str, float] = {
    "glasses": 0.058,
    "hat": 0.053,
    "necklace": 0.045,
    "earring": 0.23,
    "left_ear": 0.53,
    "right_ear": 0.48,
    "open_mouth": 0.57,
    "cloth": 0.60,
    "bald": 0.035,
}
"""Share of CelebAMask-HQ's pictures with each trait."""

RARE = ("glasses", "hat", "necklace", "earring")
"""Traits that may come more often than in the real set, so that a network learns them sooner."""
MOST = 0.5
"""The highest rate that an accessory may get so."""

EARS_COUPLED = 0.24
"""Share of pictures where one hairstyle decides on both ears; in the others each goes its own way."""


def draw_traits(rng: np.random.Generator) -> Traits:
    """Traits of one portrait on its own, each at its rate in the real set."""
    return plan_traits(1, rng, at_least_one=False)[0]


def plan_traits(
    count: int, rng: np.random.Generator, at_least_one: bool = True, accessories: float = 1.0
) -> list[Traits]:
    """Traits of ``count`` portraits with exact rates; rare ones come at least once if ``at_least_one``.

    Those in RARE come ``accessories`` times as often as in the real set, at most on every second portrait.
    """
    rates = RATES | {name: min(MOST, RATES[name] * accessories) for name in RARE}
    columns = {name: _column(count, rate, rng, at_least_one) for name, rate in rates.items()}
    right = np.where(rng.random(count) < EARS_COUPLED, columns["left_ear"], columns["right_ear"])
    if at_least_one and not right.any():
        right[rng.integers(count)] = True
    columns["right_ear"] = right
    # The only face of a tiny split has hair: its class must be there.
    columns["bald"] &= ~columns["hat"] & (count > 1 or not at_least_one)
    rows = zip(*(columns[field.name].tolist() for field in fields(Traits)), strict=True)
    return [Traits(*row) for row in rows]


def _column(count: int, rate: float, rng: np.random.Generator, at_least_one: bool) -> np.ndarray:
    """A random column of booleans with ``rate * count`` of them true, the fraction settled by chance."""
    number = int(rate * count + rng.random())
    if at_least_one:
        number = max(number, 1)
    column = np.zeros(count, bool)
    column[rng.permutation(count)[:number]] = True
    return column
