"""How often a run saves its checkpoint: by steps, by minutes, or both."""

import re
import time
from typing import NamedTuple

from lisa.errors import InputError


class Every(NamedTuple):
    """Steps and seconds between checkpoints; None where the one or the other does not count."""

    steps: int | None
    seconds: float | None


def parse_every(text: str) -> Every:
    """``200steps``, ``10min``, ``200steps,10min`` or ``epoch`` (at each epoch's end alone).

    Raises InputError for other words, and for 0.
    """
    steps: int | None = None
    seconds: float | None = None
    for part in [] if text == "epoch" else text.split(","):
        match = re.fullmatch(r"(\d+)steps?|(\d+(?:\.\d+)?)min", part.strip())
        if match is None or float(match[1] or match[2]) == 0:
            raise InputError(
                f"train.checkpoint_every = {text!r}: 200steps, 10min, both with a comma, or epoch"
            )
        if match[1]:
            steps = int(match[1])
        else:
            seconds = 60 * float(match[2])
    return Every(steps, seconds)


class Cadence:
    """Whether a checkpoint is due, since the last one at ``step``."""

    def __init__(self, text: str, step: int) -> None:
        self.every = parse_every(text)
        self.saved(step)

    def saved(self, step: int) -> None:
        """A checkpoint was written, or tried, after this step."""
        self._step, self._time = step, time.monotonic()

    def due(self, step: int) -> bool:
        """True if enough steps or minutes have passed."""
        steps, seconds = self.every
        if step == self._step:
            return False
        return (steps is not None and step - self._step >= steps) or (
            seconds is not None and time.monotonic() - self._time >= seconds
        )
