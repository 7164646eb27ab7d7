"""Each rank's own log file, ``logs/rank3.log`` in the run folder: Python's logging, with rank and host."""

import logging
import os
import platform
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lisa.errors import InputError, StopAskedError
from lisa.world import World

logger = logging.getLogger("lisa")
"""Every module's own logger (``logging.getLogger(__name__)``) writes here too."""


class _RankFile(logging.StreamHandler[TextIO]):
    """A full disk costs lines of this log, never the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


@contextmanager
def rank_log(folder: Path, world: World) -> Generator[TextIO]:
    """Opens this rank's log for the time inside, and writes down how that ended; yields its stream.

    All ranks call it. Raises InputError on all where one can't write.
    """
    stream = world.fail_together(lambda: _open(folder / "logs", world.rank))
    handler = _RankFile(stream)
    name = f"rank {world.rank} of {world.world_size} on {platform.node()}"
    handler.setFormatter(logging.Formatter(f"%(asctime)s {name}: %(message)s"))
    level, logger.level = logger.level, logging.INFO
    logger.addHandler(handler)
    logger.info("process %d begins", os.getpid())
    try:
        yield stream
    except (InputError, StopAskedError) as error:
        logger.error("%s", str(error) or "stopped")
        raise
    except BaseException:
        logger.exception("ended by")
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        stream.close()


def _open(logs: Path, rank: int) -> TextIO:
    try:
        logs.mkdir(parents=True, exist_ok=True)
        return (logs / f"rank{rank}.log").open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{logs} can't be written: {error.strerror}") from None
