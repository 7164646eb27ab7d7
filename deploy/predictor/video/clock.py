"""Times of a recording that may have been joined of several."""

from fractions import Fraction

ANEW = 0.5
"""Times that go back by more than so many seconds are of a recording joined to the one before."""


class Clock:
    """Times, in units of ``time_base``, that only grow: a joined recording goes on after the one before."""

    def __init__(self, time_base: Fraction) -> None:
        self._back = ANEW / time_base
        self._offset = 0
        self._last: int | None = None

    def __call__(self, time: int, step: int) -> int:
        """The time that counts; ``step`` is how long one lasts."""
        time += self._offset
        if self._last is not None and time < self._last - self._back:
            self._offset += self._last + step - time
            time = self._last + step
        self._last = time if self._last is None else max(time, self._last + 1)  # of broken ones some go back
        return self._last

    def next(self, step: int) -> int:
        """The time of what has none of its own."""
        self._last = 0 if self._last is None else self._last + step
        return self._last
