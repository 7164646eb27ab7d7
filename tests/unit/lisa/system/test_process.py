"""A command that is tied to the process that runs it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lisa.system.process import run_tied

CHILD = """
import pathlib, signal, sys, time

def stop(number, frame):
    pathlib.Path(sys.argv[1]).write_text(signal.Signals(number).name)
    raise SystemExit(75)

for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
pathlib.Path(sys.argv[1]).write_text("ready")
time.sleep(60)
"""
PARENT = """
import os, pathlib, sys
from lisa.system.process import run_tied
sys.exit(run_tied([sys.executable, "-c", sys.argv[1], sys.argv[2]], os.environ, pathlib.Path.cwd()))
"""


def wait_for(path: Path, text: str) -> None:
    for _ in range(3000):
        if path.exists() and path.read_text() == text:
            return
        time.sleep(0.01)
    pytest.fail(f"{path.read_text() if path.exists() else 'nothing'} in place of {text}")


@pytest.mark.parametrize(
    ("sent", "heard", "code"),
    [(signal.SIGINT, "SIGINT", 75), (signal.SIGTERM, "SIGTERM", 75), (signal.SIGKILL, "SIGTERM", -9)],
)
def test_signals_reach_the_command_and_it_outlives_nobody(
    tmp_path: Path, sent: signal.Signals, heard: str, code: int
):
    said = tmp_path / "said"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, str(said)])
    wait_for(said, "ready")
    parent.send_signal(sent)
    assert parent.wait(timeout=30) == code
    wait_for(said, heard)


def test_the_commands_code_is_ours(tmp_path: Path):
    before = signal.getsignal(signal.SIGTERM)
    assert run_tied([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path) == 3
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run_tied([sys.executable, "-c", killed], {}, tmp_path) == 137
    with pytest.raises(FileNotFoundError):
        run_tied(["nowhere/program"], {}, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & {signal.SIGTERM, signal.SIGINT}
