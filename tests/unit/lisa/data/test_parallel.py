import subprocess
import sys
import time
from pathlib import Path

import pytest

from lisa.data.parallel import parallel_map
from lisa.errors import InputError

JOBS = """
import os, time
from pathlib import Path

from lisa.data.parallel import parallel_map

HERE = Path(__file__).parent
if __name__ == "__mp_main__":
    (HERE / f"begun-{os.getpid()}").touch()
    while not (HERE / "go").exists():  # as a slow machine imports
        time.sleep(0.005)

def work(job):
    (HERE / f"worked-{job}").touch()
    return job

if __name__ == "__main__":
    list(parallel_map(work, range(40), "working", workers=2))
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc here")
def test_a_worker_that_starts_after_its_parents_death_does_no_job(tmp_path: Path):
    """It would write while the next run, which has cleared the folder of parts, is at work there."""
    script = tmp_path / "jobs.py"
    script.write_text(JOBS)
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    try:
        while len(list(tmp_path.glob("begun-*"))) < 2:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(0.2)  # the parent fills its workers' queue
    finally:
        process.kill()
        process.wait()
        (tmp_path / "go").touch()
    workers = [int(path.name.removeprefix("begun-")) for path in tmp_path.glob("begun-*")]
    deadline = time.monotonic() + 60
    while any(_runs(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_runs(worker) for worker in workers)
    assert not list(tmp_path.glob("worked-*"))


def _runs(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while it is read
        return False


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_workers_than_one_are_refused(workers: int):
    with pytest.raises(InputError, match=f"--workers {workers}: 1 or more"):
        next(parallel_map(str, [1, 2], "working", workers))
