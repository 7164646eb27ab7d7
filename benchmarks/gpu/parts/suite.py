"""The tests marked gpu, which skip where CI runs."""

import subprocess
import sys

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.driver import ROOT

NOTHING_COLLECTED = 5


def run(bench: Bench) -> None:
    """Runs them one after another; pytest's own words go into the log."""
    folder = bench.pick("tests", "tests/contracts/test_one_gpu.py")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", "-q", "-rfEs", folder]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, flush=True)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("FAILED", "ERROR", "SKIPPED")):
            bench.note(line)
    bench.row("pytest -m gpu", exit_code=float(done.returncode), result=lines[-1] if lines else "no word")
    if done.returncode not in (0, NOTHING_COLLECTED):
        raise RuntimeError(f"pytest ended with {done.returncode}: {lines[-1] if lines else 'no word'}")
