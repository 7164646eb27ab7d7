"""One run per folder, named by its process; the lock dies with it."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lisa.config import Config
from lisa.errors import InputError
from lisa.run.run import Run
from lisa.system.lock import lock_folder, require_lock_of
from lisa.world import World

HOLD = """
import os, sys, time
from pathlib import Path
from lisa.system.lock import lock_folder
lock = lock_folder(Path(sys.argv[1]))
child = os.fork()  # a loader's worker, which outlives its trainer
if child:
    print(child, flush=True)
time.sleep(300)
"""


def test_a_held_folder_is_refused_until_its_process_dies(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(InputError, match=rf"process {holder.pid} on \S+ trains into it"):
            lock_folder(tmp_path)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        lock_folder(tmp_path).close()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_host_that_sees_the_lock_goes_on(tmp_path: Path):
    lock = lock_folder(tmp_path)
    require_lock_of(tmp_path, platform.node(), os.getpid())  # raises nothing
    lock.close()


@pytest.mark.parametrize("left", ["nothing", "a former job's lock", "a lock that is being written"])
def test_a_host_whose_folder_is_another_one_is_told(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It would begin anew where the others go on."""
    monkeypatch.setattr("lisa.system.lock.SEEN_SECONDS", 0.3)
    content = {"a former job's lock": '{"host": "a", "pid": 6}', "a lock that is being written": ""}
    if left in content:
        (tmp_path / "lock").write_text(content[left])
    with pytest.raises(InputError, match=rf"does not see in {tmp_path} what a writes there.*all hosts share"):
        require_lock_of(tmp_path, "a", 7)


def test_a_run_keeps_its_lock(tmp_path: Path):
    """A look into the lock file by its own process would give it back."""
    with Run(Config(output=str(tmp_path)), World(), resume=False):
        other = [sys.executable, "-c", HOLD, str(tmp_path)]
        tried = subprocess.run(other, capture_output=True, text=True, timeout=60, check=False)
    assert "trains into it" in tried.stderr


def test_ranks_of_a_run_look_for_rank_0s_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lisa.system.lock.SEEN_SECONDS", 0.1)
    world = World(rank=1, world_size=2)
    holder = ("another host", 7)
    monkeypatch.setattr(world, "all_gather", lambda own: [holder, own] if isinstance(own, tuple) else [own])
    with (
        pytest.raises(InputError, match="does not see"),
        Run(Config(output=str(tmp_path)), world, resume=False),
    ):
        pass
