"""One run per folder, named by its process; the lock dies with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lisa.errors import InputError
from lisa.lock import lock_folder

HOLD = """
import os, sys, time
from pathlib import Path
from lisa.lock import lock_folder
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
