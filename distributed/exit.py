"""Exit codes of workers.

Under launch.sh a worker always exits 0 and writes its real code to a file, because torchrun restarts every
worker that exits non-zero.
"""

import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lisa.errors import ExitCode, InputError, StopAskedError
from lisa.system.short_memory import ADVICE, is_out_of_memory

STATUS_FILE = "LISA_STATUS_FILE"

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What asks a worker to stop; the last is Slurm's warning before the time limit."""


def hold_stop_signals() -> None:
    """Holds stop signals until open_world hears them, and raises one that came before this worker started.

    Importing torch takes seconds. A signal would end the worker then, and the agent start it again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    status = os.environ.get(STATUS_FILE)
    if status is not None and stop_note(Path(status)).exists():
        os.kill(os.getpid(), signal.SIGTERM)


def stop_note(status: Path) -> Path:
    """launch.sh's note beside the status file: the run was asked to stop."""
    return status.with_name(f"{status.name}.stop")


def started_before() -> bool:
    """Whether this host has started workers of this run before: these go on from the last checkpoint.

    Under launch.sh local rank 0 alone answers, and leaves a note in the status file: torchrun's count of
    restarts does not grow when a host's coming or going starts the workers again.
    """
    status = os.environ.get(STATUS_FILE)
    if status is None:
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return False
    before = Path(status).read_text() != ""
    Path(status).write_text("started\n")
    return before


def finish(main: Callable[[], int]) -> NoReturn:
    """Runs main and ends the process with its code; an InputError is one line on each host, and 2 or 3.

    A worker that ends with a code makes torchrun print a traceback and start all workers again. Neither helps
    against bad input or a request to stop, so under launch.sh the worker ends with 0 and launch.sh reads the
    code from the file that LISA_STATUS_FILE names. A worker that fails leaves at once: an orderly end of its
    process group could wait for the others, who wait for it.
    """
    try:
        _end(main())
    except InputError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of every host: one may fail before the others know
            print(f"error: {error}", file=sys.stderr, flush=True)
        _end(error.exit_code, at_once=True)
    except StopAskedError:
        _end(ExitCode.STOPPED, at_once=True)
    except Exception as error:
        place = f"rank {os.environ.get('RANK', '0')} on {platform.node()}"
        print(f"error: {place} failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        if is_out_of_memory(error):
            print(f"error: {place}: memory is short: {ADVICE}", file=sys.stderr, flush=True)
        traceback.print_exc()
        _leave(1)


def _end(code: int, at_once: bool = False) -> NoReturn:
    status = os.environ.get(STATUS_FILE)
    if status is not None:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            Path(status).write_text(f"{code}\n")
        code = 0
    if at_once:
        _leave(code)
    raise SystemExit(code)


def _leave(code: int) -> NoReturn:
    """Ends the process here: nothing that Python or torch would still tidy up is waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
