"""Searches by real processes: killed, interrupted, resumed; on a cluster of two nodes; a lost worker."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest

from lisa.config import Config
from lisa.config.command_line import parse_training

pytestmark = pytest.mark.xdist_group("ray")  # one cluster on this machine at a time

ROOT = Path(__file__).parents[2]
SHAPE = ("--model.widths", "4", "6", "8", "10", "12", "--model.depths", "1", "1", "1", "1", "1")
FLAGS = ("--size", "32", "--batch-size", "2", "--data.workers", "0", "--optim.ema-decay", "0", *SHAPE)
LONG = 600

T = TypeVar("T")


def command(room: str, *arguments: object) -> list[str]:
    return [sys.executable, "-u", "-m", f"tune.{room}", *map(str, arguments), *FLAGS]


def environment(**extra: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}


def run(
    room: str, *arguments: object, timeout: float = LONG, **extra: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(room, *arguments),
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )


class Driver:
    """A search in the background, in a process group of its own."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                command("search", *arguments),
                env=environment(),
                stdout=stream,
                stderr=stream,
                cwd=ROOT,
                start_new_session=True,
            )

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()

    def wait_for(self, pattern: str, times: int = 1) -> None:
        """Until so many different texts of the pattern are in the log."""
        deadline = time.monotonic() + LONG
        while len(set(re.findall(pattern, self.log.read_text()))) < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)


def processes() -> dict[int, tuple[int, str]]:
    """Every process that is no zombie: its parent and its start time."""
    found: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != "Z":
            found[int(folder.name)] = (int(fields[1]), fields[19])
    return found


def family(pid: int) -> set[tuple[int, str]]:
    """The process's descendants, by id and start time."""
    table, members = processes(), {pid}
    while more := {child for child, (parent, _) in table.items() if parent in members} - members:
        members |= more
    return {(member, table[member][1]) for member in members - {pid}}


def still_there(members: set[tuple[int, str]]) -> set[int]:
    table = processes()
    return {pid for pid, start in members if pid in table and table[pid][1] == start}


def assert_gone(members: set[tuple[int, str]]) -> None:
    deadline = time.monotonic() + LONG
    while still_there(members):
        assert time.monotonic() < deadline, still_there(members)
        time.sleep(0.2)


def patiently(start: Callable[[], T]) -> T:
    """Ray gives a node 30 s to start, which on a busy machine is not enough."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


@pytest.fixture(scope="module")
def cluster() -> Generator[str]:
    """Two nodes of one CPU each on this machine; its address."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # An earlier Ray in this process leaves switches behind, token authentication among them.
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", "")  # the checkout must travel, not be found
        head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
        nodes = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            patiently(lambda: nodes.add_node(num_cpus=1, object_store_memory=100 * 2**20))
            yield str(nodes.address)
        finally:
            nodes.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_search_survives_a_kill(
    make_faces: Callable[..., Path], tmp_path: Path, request: pytest.FixtureRequest
):
    """Killed with Ray of its own, gone on with on a cluster: the trial that had ended is not run again."""
    root, output = make_faces(train=12), tmp_path / "search"
    asked = ("--data", root, "--trials", 2, "--trial-epochs", 4, "--epochs", 7, "--output", output, "best")
    with Driver(tmp_path / "killed.log", *asked) as killed:
        killed.wait_for(r"ends \(1 of 2\)")
        time.sleep(1.5)  # Ray writes its state once a second
        members = family(killed.process.pid)
        assert len(members) > 3
    assert killed.process.returncode == -signal.SIGKILL, killed.log.read_text()
    assert_gone(members)
    first = killed.log.read_text().split(" ends (1 of 2)")[0].split()[-1]
    written = (output / "trials" / first / "last.pt").stat().st_mtime_ns

    ended = run("search", *asked, "--resume", "--address", request.getfixturevalue("cluster"))
    assert ended.returncode == 0, ended.stderr
    rows = list(csv.DictReader((output / "leaderboard.csv").open()))
    assert len(rows) == 2 == len({row["trial"] for row in rows})
    assert first in {row["trial"] for row in rows}
    assert (output / "trials" / first / "last.pt").stat().st_mtime_ns == written
    assert f"trial {first}" not in ended.stdout

    found = Config.from_json((output / "best.json").read_text())
    assert parse_training(["--config", str(output / "best.json")]).config == found
    assert (found.train.epochs, found.output) == (7, str(output / "best"))
    assert found.optim.lr == float(rows[0]["optim.lr"])
    for name in ("best_so_far.png", "parallel.png"):
        assert (output / name).stat().st_size > 5000


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_trials_on_both_nodes_survive_a_lost_worker_and_ctrl_c(
    make_faces: Callable[..., Path], tmp_path: Path, cluster: str
):
    """Each node has one CPU and each trial takes one: both at work at a time are on two nodes.

    So many epochs end on no machine, however the test waits.
    """
    asked = ("--data", make_faces(), "--trials", 2, "--trial-epochs", 10_000, "--search", "random")
    asked = (*asked, "--output", tmp_path / "search", "--address", cluster)
    with Driver(tmp_path / "stopped.log", *asked) as stopped:
        stopped.wait_for(r"trial (\S+) epoch", times=2)
        trainers = [pid for pid, _ in family(os.getpid()) if b"ray::Impl" in command_line(pid)]
        os.kill(trainers[0], signal.SIGKILL)
        stopped.wait_for("is tried again")
        os.killpg(stopped.process.pid, signal.SIGINT)
        assert stopped.process.wait(LONG) == 75, stopped.log.read_text()
    told = stopped.log.read_text()
    assert "--resume goes on" in told
    assert " ends (" not in told
    assert "Traceback" not in told

    with Driver(tmp_path / "resumed.log", *asked, "--resume") as resumed:
        resumed.wait_for(r"trial (\S+) epoch", times=2)
        os.killpg(resumed.process.pid, signal.SIGTERM)
        assert resumed.process.wait(LONG) == 75, resumed.log.read_text()
    assert " epoch 1/" not in resumed.log.read_text()
    trials = set(re.findall(r"trial (\S+) epoch", told))
    assert set(re.findall(r"trial (\S+) epoch", resumed.log.read_text())) == trials


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_an_ablation_on_the_cluster_and_its_resume(
    make_faces: Callable[..., Path], tmp_path: Path, cluster: str
):
    asked = (
        "--table",
        4,
        "--data",
        make_faces(),
        "--epochs",
        1,
        "--output",
        tmp_path / "a",
        "--train.views",
        1,
    )
    done = run("ablate", *asked, RAY_ADDRESS=cluster)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "a/table4.md").read_text()
    for row in ("| Dice | 7,147 | 1 |", "| CE | 7,147 | 1 |", "| CE + Dice | 7,147 | 1 |"):
        assert row in table
    assert "| 75.04 |" in table
    again = run("ablate", *asked, "--resume", RAY_ADDRESS=cluster)
    assert again.returncode == 0, again.stderr
    assert " starts " not in again.stdout
    assert (tmp_path / "a/table4.md").read_text().splitlines()[6:] == table.splitlines()[6:]
