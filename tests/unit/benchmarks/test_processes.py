"""Programs that a benchmark runs."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.processes import run_together

SMALL_PARENT = """
from benchmarks.processes import run_together

def peak(mebibytes):
    (ended,) = run_together([["-c", f"block = b'x' * ({mebibytes} << 20); print(len(block))"]])
    assert int(ended.output) == mebibytes << 20
    return ended.peak_mib

print(peak(300))
held = b"x" * (500 << 20)
print(peak(300), len(held))
"""


def test_a_programs_peak_is_its_own_or_unknown():
    """A parent of 500 MiB hides what a program of 300 had."""
    (ended,) = run_together([["-c", SMALL_PARENT]])
    own, hidden, _ = ended.output.split()
    assert 300 < float(own) < 400
    assert hidden == "nan"


def test_a_failed_program_takes_the_others_along(tmp_path: Path):
    """They would slow what is measured next."""
    begun, number = tmp_path / "begun", tmp_path / "number"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(begun)!r}).exists(): time.sleep(0.01)\n"
    sleeper = (
        f"import os, pathlib, time; pathlib.Path({str(number)!r}).write_text(str(os.getpid())); "
        f"pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"
    )
    with pytest.raises(subprocess.CalledProcessError):
        run_together([["-c", waits + "raise SystemExit(1)"], ["-c", sleeper]])
    with pytest.raises(ProcessLookupError):
        os.kill(int(number.read_text()), 0)
