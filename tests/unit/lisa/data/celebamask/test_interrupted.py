"""A conversion that is killed, or has no room, loses nothing and leaves nothing half-written."""

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celebamask_helpers import command, contents, run_conversion
from PIL import Image

from lisa.data.celebamask.convert import MANIFEST, convert

pytestmark = pytest.mark.xdist_group("the raw release")  # one process makes it


def finished_files(output: Path) -> int:
    return len(list(output.glob("*/*/[!.]*")))


@pytest.mark.slow
def test_killed_ten_times_equals_undisturbed(raw: Path, undisturbed: Path, tmp_path: Path):
    """SIGKILL at random moments while files are being written; each run gets a few files further."""
    output, moments = tmp_path / "out", random.Random(0)
    for _ in range(10):
        goal = finished_files(output) + moments.randrange(3)
        process = subprocess.Popen(command(raw, output), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while finished_files(output) <= goal and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.02))
        assert process.poll() is None, "finished before it could be killed: give it more faces"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in output.glob("*/*/[!.]*"):
            Image.open(path).load()
    assert not (output / MANIFEST).exists()
    assert run_conversion(raw, output).returncode == 0
    assert contents(output) == contents(undisturbed)


@pytest.mark.slow
def test_orphaned_workers_end_with_their_killed_parent(raw: Path, tmp_path: Path):
    process = subprocess.Popen(command(raw, tmp_path / "out"), stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.005)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        process.wait()
        pytest.skip("no /proc here")
    workers = [int(word) for word in children.read_text().split()]
    process.kill()
    process.wait()
    deadline = time.monotonic() + 600
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    alive = [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert len(workers) >= 2
    assert all("Z" in Path(f"/proc/{worker}/stat").read_text().split()[2] for worker in alive)


@pytest.mark.slow
def test_file_size_limit_leaves_no_half_files(small: Path, tmp_path: Path):
    """Masks fit under the limit and pictures don't, as on a disk that fills up."""
    output = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    done = run_conversion(small, output, preexec_fn=limit)
    assert done.returncode == 2
    assert "can't write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(output.rglob("*.png"))
    assert not list(output.rglob("*.jpg"))
    assert not list(output.rglob(".*.part"))
    assert run_conversion(small, output).returncode == 0
    convert(small, tmp_path / "reference", workers=1)
    assert contents(output) == contents(tmp_path / "reference")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("can't mount a small disk here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_disk_full_is_one_line_and_going_on_works(raw: Path, undisturbed: Path, tiny_disk: Path):
    done = run_conversion(raw, tiny_disk / "out")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tiny_disk / "out").rglob("*.jpg"))
    assert not list((tiny_disk / "out").rglob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=30m", str(tiny_disk)], check=True)
    assert run_conversion(raw, tiny_disk / "out").returncode == 0
    assert contents(tiny_disk / "out") == contents(undisturbed)
