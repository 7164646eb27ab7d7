"""Programs that a benchmark runs."""

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
