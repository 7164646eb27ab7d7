"""Where a stalled rank waits: its stacks go into its log before the collectives' time-out ends the job."""

import faulthandler
from typing import TextIO


class Watchdog:
    """Dumps all threads' stacks into a log whenever ``seconds`` pass without a beat.

    faulthandler's own thread does it, which needs no GIL: also while the trainer hangs inside a collective.
    """

    def __init__(self, log: TextIO, seconds: float) -> None:
        self._log, self._seconds = log, seconds
        self.beat()

    def beat(self) -> None:
        """Begins to wait anew."""
        faulthandler.dump_traceback_later(self._seconds, file=self._log)

    def stop(self) -> None:
        """Waits no more."""
        faulthandler.cancel_dump_traceback_later()
