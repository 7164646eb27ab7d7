"""Haircuts: the numbers that one portrait's hair is drawn from."""

from dataclasses import dataclass

import numpy as np

from lisa.data.portraits.traits import Traits

FRONTS = ("open", "fringe", "swept", "parted", "receding", "back")
"""How the forehead is framed; "back" is hair that is combed or tied back."""
SHORT_FRONTS = (0.46, 0.1, 0.14, 0.04, 0.12, 0.14)
LONG_FRONTS = (0.26, 0.12, 0.2, 0.28, 0.0, 0.14)


@dataclass(frozen=True)
class Haircut:
    """One haircut, in head coordinates."""

    front: str
    """How the forehead is framed: one of FRONTS."""
    length: float
    """y of the tips; short hair ends above the ear lobes, at about 0."""
    top: float
    """How far it stands above the skull."""
    side: float
    """How far it stands out beside the temples."""
    flare: float
    """How much wider long hair gets towards its tips."""
    part: float
    """x of the parting."""
    lean: float
    """How far the top leans to one side: quiffs, and hair that is combed over."""
    curl: float
    """0 straight, 1 curly: waves of the outline and the strands."""
    frizz: float
    """0 smooth, 1 frizzy: how far the edges fray."""
    bun: bool
    tail: bool
    """Tied at the back: a tail beside the neck."""
    thin: float
    """How much of the scalp shows through: 0 none."""

    @property
    def long(self) -> bool:
        """Hair that hangs beside the neck."""
        return self.length > 0.1


def draw_haircut(rng: np.random.Generator, traits: Traits) -> Haircut:
    """A random haircut; hidden ears need hair that is long enough to hide them."""
    covers = not (traits.left_ear and traits.right_ear)
    long = rng.random() < (0.8 if covers else 0.25)
    curl, frizz = float(rng.beta(1, 2.2)), float(rng.beta(1, 2))
    side = float(rng.uniform(0.02, 0.17) if long else rng.uniform(0.004, 0.05))
    top = float(rng.uniform(0.03, 0.17) if long else rng.uniform(0.01, 0.13))
    lean = rng.normal(0, 0.03)
    if not long and rng.random() < 0.25:  # a quiff or spikes
        top, lean = float(rng.uniform(0.08, 0.24)), rng.normal(0, 0.09)
    length = rng.uniform(0.12, 0.8) if long else rng.uniform(-0.05, 0.03)
    if long and rng.random() < 0.4:  # down to the frame's edge and beyond
        length = rng.uniform(0.5, 0.9)
    thin = float(rng.uniform(0.2, 0.7)) if not long and rng.random() < 0.2 else 0.0
    shaved = not long and rng.random() < 0.25
    if shaved:  # a shadow on the scalp
        top, side, lean, thin = rng.uniform(0, 0.02), rng.uniform(0, 0.01), 0.0, float(rng.uniform(0.2, 0.65))
    elif rng.random() < 0.07:  # round, as afros are
        side, top = float(rng.uniform(0.08, 0.25)), float(rng.uniform(0.1, 0.24))
        curl, frizz = max(curl, 0.6), max(frizz, 0.6)
    up = not long and not shaved and rng.random() < 0.22
    return Haircut(
        front=FRONTS[rng.choice(6, p=LONG_FRONTS if long else SHORT_FRONTS)],
        length=float(length),
        top=float(top),
        side=float(side),
        flare=float(rng.normal(0.04, 0.09)),
        part=float(rng.uniform(-0.13, 0.13)),
        lean=float(np.clip(lean, -0.15, 0.15)),
        curl=curl,
        frizz=frizz,
        bun=up and rng.random() < 0.6,
        tail=up and rng.random() < 0.6,
        thin=thin,
    )
