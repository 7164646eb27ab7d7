"""Runs torchrun's agent: signals become one request to the workers, and the workers' code becomes ours."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from distributed.exit import STATUS_FILE, stop_note
from lisa.errors import ExitCode
from lisa.system.process import die_with_parent

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def run_agent(options: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs ``torchrun OPTIONS`` to its end and returns the exit code of the training command.

    The agent gets a session of its own, so that Ctrl-C reaches this process alone. A signal is handed to the
    workers, not to the agent: they finish their step, save and leave, and the agent ends without a traceback.
    """
    status = _new_status_file()
    command = [sys.executable, "-m", "torch.distributed.run", *options]
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the handlers know the agent
    try:
        agent = subprocess.Popen(
            command,
            env={**environment, STATUS_FILE: str(status)},
            start_new_session=True,
            preexec_fn=_settle_agent,
        )
        with _stop_signals_to_workers(agent, stop_note(status)) as told:
            code = agent.wait()
        written = status.read_text().strip()
    finally:
        status.unlink(missing_ok=True)
        stop_note(status).unlink(missing_ok=True)
    if written.isdecimal() and (code == 0 or told):  # a request may end the agent after its workers
        return int(written)
    if told and (code < 0 or not written or not told[-1]):  # no worker was there to answer the request
        return ExitCode.STOPPED
    return code if code >= 0 else 128 - code


def children(pid: int) -> list[int]:
    """The processes that this process started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # no /proc, as on macOS, or a kernel that does not list children
        return children_by_ps(pid)


def children_by_ps(pid: int) -> list[int]:
    """The same, asked of ps."""
    try:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False)
    except OSError:
        return []
    pairs = [line.split() for line in listed.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def _new_status_file() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="lisa-status-")
    os.close(descriptor)
    return Path(name)


def _settle_agent() -> None:
    """Between fork and exec.

    Slurm's USR1, its warning before the time limit, may reach every process of the job: the agent would die.
    Where the launcher is killed outright, the agent ends its workers, which save.
    """
    die_with_parent()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def _stop_signals_to_workers(agent: "subprocess.Popen[bytes]", note: Path) -> Generator[list[list[int]]]:
    """Inside, a signal asks the agent's workers to stop; yields which workers each request was sent to.

    A worker that starts at that moment loses the signal or dies of it, and the agent starts another: these
    read the note. Before there are workers a request ends the agent. What this process was started to ignore,
    as under nohup, stays ignored.
    """
    told: list[list[int]] = []

    def ask(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # a full disk must not keep the request from the workers
            note.touch()
        told.append(children(agent.pid))
        for pid in told[-1] or [agent.pid]:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue  # it ended meanwhile

    former = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if former[number] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield told
    finally:
        for number in heard:
            signal.signal(number, former[number])
