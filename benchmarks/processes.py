"""Programs that a benchmark runs: their output, and the most memory that each had."""

import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Ended(NamedTuple):
    """A program that has ended well."""

    output: str
    peak_mib: float
    """The most resident memory that it had; nan where it is hidden behind its parent's.

    Linux counts for a program what the process had before it became this program: its parent's memory.
    """


def run_together(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str] | None = None
) -> list[Ended]:
    """Runs Python programs side by side from the checkout's root, each given as Python's arguments.

    Raises subprocess.CalledProcessError if one fails.
    """
    programs = [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    own = _peak_kib()
    ended: list[Ended] = []
    try:
        for program in programs:
            assert program.stdout is not None
            with program.stdout as stream:
                output = stream.read()
            _, status, usage = os.wait4(program.pid, 0)
            program.returncode = os.waitstatus_to_exitcode(status)
            if program.returncode:
                raise subprocess.CalledProcessError(program.returncode, program.args, output)
            ended.append(Ended(output, usage.ru_maxrss / 1024 if usage.ru_maxrss > own else math.nan))
    finally:  # those beside one that failed would slow what is measured next
        for program in programs:
            if program.poll() is None:
                program.kill()
                program.wait()
    return ended


def _peak_kib() -> int:
    """The most resident memory of this program; getrusage would count what its parent had, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
