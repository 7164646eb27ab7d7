"""Bad input ends a command with one clear line, not a traceback."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from enum import IntEnum

SHOWN = 20


class ExitCode(IntEnum):
    """How a command ends; 0 is a finished one."""

    BAD_INPUT = 2
    """The message says what to change."""
    DIVERGED = 3
    """No finite gradient any more. A search tells such a trial, which scored badly, from one that failed."""
    STOPPED = 75
    """Asked to stop: the same command goes on with --resume (sysexits' EX_TEMPFAIL)."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it: 128 and SIGINT's number."""


class InputError(ValueError):
    """What the user gave can't be used. The message says what, where and what to do."""

    exit_code: ExitCode = ExitCode.BAD_INPUT
    """How a command ends that met this error."""


class DivergedError(InputError):
    """The loss or its gradient stayed NaN or infinite."""

    exit_code: ExitCode = ExitCode.DIVERGED


class StopAskedError(BaseException):
    """A rank was asked to stop (SIGTERM, SIGUSR1, Ctrl-C): raised on all ranks together.

    A signal raises it, as it raises KeyboardInterrupt: ``except Exception`` must not take it for a fault of
    whatever was being done.
    """


def plain(error: InputError) -> str:
    """Its message; a DataLoader's worker process wraps that in a traceback, whose last line it is."""
    text = str(error)
    if not text.startswith(f"Caught {InputError.__name__} in DataLoader"):
        return text
    return text.splitlines()[-1].removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")


def listing(items: Sequence[str]) -> str:
    """The first 20 items one per line, then how many more there are."""
    lines = [f"  {item}" for item in items[:SHOWN]]
    if len(items) > SHOWN:
        lines.append(f"  ... and {len(items) - SHOWN} more ({len(items)} in all)")
    return "\n".join(lines)


@contextmanager
def one_line_errors() -> Generator[None]:
    """Entry points run inside: InputError prints its message to stderr and exits with its code."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.exit_code) from None
    except PermissionError as error:  # asking whether a file is there may already be forbidden
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr, flush=True)
        raise SystemExit(ExitCode.BAD_INPUT) from None
