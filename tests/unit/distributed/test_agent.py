"""The agent's life: signals, codes, the status file; a program of three lines stands in for torchrun."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from process_helpers import LONG, wait_until

from distributed import agent
from distributed.agent import children, run_agent
from distributed.launch import ROOT
from lisa.errors import ExitCode

Run = Callable[..., int]


@pytest.fixture
def torchrun(tmp_path: Path) -> Callable[[str], Path]:
    """Writes this text as torch.distributed.run; the folder to find it in."""

    def write(text: str) -> Path:
        package = tmp_path / "torch/distributed"
        package.mkdir(parents=True, exist_ok=True)
        for name in ("torch/__init__.py", "torch/distributed/__init__.py"):
            (tmp_path / name).touch()
        (package / "run.py").write_text(text)
        return tmp_path

    return write


@pytest.fixture
def run(torchrun: Callable[[str], Path]) -> Run:
    """run_agent with this text as torch.distributed.run."""

    def started(text: str) -> int:
        places = os.pathsep.join([str(torchrun(text)), str(ROOT)])
        return run_agent(["one", "two"], {**os.environ, "PYTHONPATH": places})

    return started


WRITE = "import os, sys; open(os.environ['LISA_STATUS_FILE'], 'w').write({!r}); sys.exit({})"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WRITE.format("75\n", 0), 75),
        (WRITE.format("0\n", 0), 0),
        (WRITE.format("started\n", 1), 1),
        (WRITE.format("75\n", 1), 1),
        ("import sys; sys.exit(sys.argv[1:] != ['one', 'two'])", 0),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 10)", 0),  # USR1 is ignored
        ("import os, sys; sys.exit(os.getsid(0) != os.getpid())", 0),
    ],
)
def test_the_code_of_the_workers_or_of_the_agent(run: Run, text: str, expected: int):
    assert run(text) == expected


def test_no_status_file_is_left(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "status").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "status"))
    assert run(WRITE.format("2\n", 0)) == 2
    assert list((tmp_path / "status").iterdir()) == []


@pytest.mark.parametrize("number", agent.SIGNALS)
def test_a_stop_before_there_are_workers(torchrun: Callable[[str], Path], number: signal.Signals):
    """The agent dies of it; for who started it, still a stop that can be gone on from.

    In a process of its own, as the launcher is: here another test's runtime may have left threads, which take
    a signal that this one holds back until it knows the agent.
    """
    place = torchrun(f"import os, time; os.kill(os.getppid(), {int(number)}); time.sleep(600)")
    script = (
        "import os, signal; from distributed.agent import run_agent; "
        f"before = signal.getsignal({int(number)}); "
        f"code = run_agent([], {{**os.environ, 'PYTHONPATH': {str(place)!r}}}); "
        f"print(int(code), signal.getsignal({int(number)}) is before)"
    )
    asked = [sys.executable, "-c", script]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG)
    assert done.stdout == f"{int(ExitCode.STOPPED)} True\n", done.stderr


WORKER = (
    "import signal, time; signal.signal(15, lambda *_: exit(0)); print('ready', flush=True); time.sleep(600)"
)
AGENT = f"""
import os, signal, subprocess, sys
workers = [subprocess.Popen([sys.executable, "-c", {WORKER!r}], stdout=subprocess.PIPE) for _ in range(2)]
for worker in workers:
    worker.stdout.readline()
os.kill(os.getppid(), signal.SIGUSR1)
codes = [worker.wait() for worker in workers]
open(os.environ["LISA_STATUS_FILE"], "w").write("75")
sys.exit(sum(codes))
"""


@pytest.mark.parametrize("proc", [True, False])
def test_a_signal_asks_the_workers_and_not_the_agent(run: Run, monkeypatch: pytest.MonkeyPatch, proc: bool):
    """Also where there is no /proc."""
    if not proc:
        monkeypatch.setattr(agent, "children", agent.children_by_ps)
    assert run(AGENT) == 75


def test_a_signal_asks_the_workers_where_no_note_can_be_written(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(agent, "stop_note", lambda status: tmp_path / "absent/note")
    assert run(AGENT) == 75


HOLD = """
import signal
from distributed.exit import hold_stop_signals
hold_stop_signals()
print(signal.SIGTERM in signal.sigpending())
"""


def test_a_worker_that_starts_after_the_request_hears_of_it_too(run: Run, capfd: pytest.CaptureFixture[str]):
    text = f"""
import os, signal, subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
subprocess.run([sys.executable, "-c", {HOLD!r}], check=True)
os.kill(os.getppid(), signal.SIGTERM)
worker.wait()  # it dies of the signal, as one that still imports
subprocess.run([sys.executable, "-c", {HOLD!r}], check=True)
open(os.environ["LISA_STATUS_FILE"], "w").write("75")
"""
    assert run(text) == 75
    assert capfd.readouterr().out == "False\nTrue\n"


def test_a_request_after_the_end_leaves_the_workers_code(run: Run):
    text = """
import os, time
with open(os.environ["LISA_STATUS_FILE"], "w") as status:
    status.write("2")
os.kill(os.getppid(), 15)
time.sleep(600)
"""
    assert run(text) == 2


@pytest.mark.parametrize(
    ("written", "expected"), [("", int(ExitCode.STOPPED)), ("started", 1)], ids=["none began", "one failed"]
)
def test_workers_that_die_of_the_request_while_they_import(run: Run, written: str, expected: int):
    """Where the agent may not start them again it fails; nothing was trained, so nothing is lost."""
    text = f"""
import os, signal, subprocess, sys
open(os.environ["LISA_STATUS_FILE"], "w").write({written!r})
worker = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
os.kill(os.getppid(), signal.SIGTERM)
sys.exit(worker.wait() < 0)
"""
    assert run(text) == expected


def test_what_was_ignored_from_the_start_stays_ignored(run: Run):
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("import os, time; os.kill(os.getppid(), 1); time.sleep(0.2)") == 0
    finally:
        signal.signal(signal.SIGHUP, former)


def test_children_by_proc_and_by_ps():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        for found in (children(os.getpid()), agent.children_by_ps(os.getpid())):
            assert child.pid in found


def test_launch_sh_hands_signals_on_and_answers_with_the_code(tmp_path: Path):
    """The shim, a real signal from outside, and an agent that has no workers yet."""
    torch = tmp_path / "torch/distributed"
    torch.mkdir(parents=True)
    for name in ("torch/__init__.py", "torch/distributed/__init__.py"):
        (tmp_path / name).touch()
    (torch / "run.py").write_text(f"import time; open({str(tmp_path / 'up')!r}, 'w'); time.sleep(600)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NPROC": "1"}
    words = [str(ROOT / "launch.sh"), "best", "--data", "my faces"]
    with subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as launched:
        wait_until((tmp_path / "up").exists, "the agent")
        time.sleep(0.2)
        launched.terminate()
        assert launched.wait(400) == ExitCode.STOPPED
        assert launched.stdout is not None
        assert launched.stdout.read().rstrip().endswith("-m distributed.train best --data 'my faces'")
