"""Training across two hosts: network namespaces on this machine, a launch.sh in each, Gloo between them.

As root with LISA_NETNS_TESTS=1 alone: they change the machine's network, which CI's may not be.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from benchmarks.network.hosts import TwoHosts, command
from distributed.world import ProcessGroupWorld

ROOT = Path(__file__).parents[2]
EPOCHS = 12

namespaces = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.environ.get("LISA_NETNS_TESTS") != "1", reason="LISA_NETNS_TESTS is not 1"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


class Run:
    """One run over both hosts, one process on each."""

    def __init__(self, hosts: TwoHosts, faces: Path, folder: Path, nodes: str, epochs: int) -> None:
        self.hosts, self.faces, self.folder, self.nodes, self.epochs = hosts, faces, folder, nodes, epochs
        self.launches = 0

    def launch(self, host: int) -> tuple[subprocess.Popen[str], Path]:
        """launch.sh on the host, and the file that it prints into."""
        self.launches += 1
        log = self.folder / f"{self.launches}.log"
        flags = ["--data", str(self.faces), "--output", str(self.folder / "run"), "--size", "32"]
        flags += ["--epochs", str(self.epochs), "--batch-size", "4", "--data.workers", "0"]
        flags += ["--optim.ema-decay", "0.9", "--train.gradients", "bf16"]
        own = {"NNODES": self.nodes, "MASTER_ADDR": self.hosts.addresses[0], "NPROC": "1"}
        own |= {"LISA_TIMEOUT": "10", "OMP_NUM_THREADS": "1"}
        if ":" not in self.nodes:
            own["NODE_RANK"] = str(host)
        environment = {**self.hosts.environment(host), **own}
        with log.open("w") as stream:
            words = [str(ROOT / "launch.sh"), "best", *flags]
            process = self.hosts.start(host, words, env=environment, stdout=stream, stderr=stream)
        return process, log

    def records(self) -> list[dict[str, object]]:
        """The epochs' lines of metrics.jsonl."""
        path = self.folder / "run/metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if "miou" in record]

    def wait_for_epochs(self, count: int) -> None:
        wait_for(lambda: len(self.records()) >= count, f"epoch {count}")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 400) -> float:
    """Seconds until the condition held."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + seconds, f"{what} never came"
        time.sleep(0.1)
    return time.monotonic() - start


@pytest.fixture
def hosts() -> Generator[TwoHosts]:
    with TwoHosts(2) as pair:
        yield pair


def check_whole(run: Run, ended: subprocess.Popen[str], other: subprocess.Popen[str]) -> None:
    """Both end well, and the log holds each epoch once, at the step where it belongs."""
    assert ended.wait(400) == 0
    assert other.wait(100) == 0
    records = run.records()
    steps = 24 // 4
    assert [record["epoch"] for record in records] == list(range(1, run.epochs + 1))
    assert [record["step"] for record in records] == [steps * (1 + n) for n in range(run.epochs)]


def worlds(log: Path) -> list[str]:
    """The number of processes of every start that a log tells of."""
    lines = log.read_text().splitlines()
    return [line.partition("pictures; ")[2][0] for line in lines if " parameters; " in line]


class TestHosts:
    pytestmark = namespaces

    def test_a_lost_host_is_done_without_and_its_replacement_joins(
        self, hosts: TwoHosts, make_faces: Callable[..., Path], tmp_path: Path
    ):
        run = Run(hosts, make_faces(train=24), tmp_path, "1:2", epochs=60)
        survivor, log = run.launch(0)
        run.launch(1)
        run.wait_for_epochs(2)
        hosts.kill(1)
        lost_at = len(run.records())
        alone = wait_for(lambda: len(run.records()) > lost_at + 1, "an epoch without the lost host")
        assert worlds(log) == ["2", "1"]
        replacement, _ = run.launch(1)
        together = wait_for(lambda: worlds(log) == ["2", "1", "2"], "the replacement")
        check_whole(run, survivor, replacement)
        assert "stopped at step" in log.read_text()  # on the replacement's coming, at a step's end: none lost
        print(f"host lost: an epoch again after {alone:.0f} s; replacement at work after {together:.0f} s")

    def test_a_cut_link_fails_by_its_time_out_and_a_mended_one_is_taken_up(
        self, hosts: TwoHosts, make_faces: Callable[..., Path], tmp_path: Path
    ):
        run = Run(hosts, make_faces(train=24), tmp_path, "2", EPOCHS)
        first, log = run.launch(0)
        second, other_log = run.launch(1)
        run.wait_for_epochs(2)
        hosts.set_link(up=False)
        timed_out = "Timed out waiting 10000ms"
        noticed = wait_for(lambda: timed_out in log.read_text() and timed_out in other_log.read_text(), "it")
        hosts.set_link(up=True)
        before = len(run.records())
        mended = wait_for(lambda: len(run.records()) > before, "an epoch on the mended link")
        check_whole(run, first, second)
        assert worlds(log) == ["2", "2"]
        print(f"link cut: noticed after {noticed:.0f} s; an epoch again {mended:.0f} s after mending")

    def test_a_host_cut_off_for_long_ends_with_a_message_and_may_come_back(
        self, hosts: TwoHosts, make_faces: Callable[..., Path], tmp_path: Path
    ):
        """The agent without a rendezvous lives as long as TCP keeps trying: net.ipv4.tcp_retries2."""
        for name in hosts.names:
            command("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_retries2=4")
        run = Run(hosts, make_faces(train=24), tmp_path, "2", EPOCHS)
        first, log = run.launch(0)
        second, other_log = run.launch(1)
        run.wait_for_epochs(2)
        hosts.set_link(up=False)
        ended = wait_for(lambda: second.poll() is not None, "the end of the host cut off")
        assert second.returncode != 0
        assert "imed out" in other_log.read_text()  # by Gloo after 10 s, or by TCP before it
        assert "RendezvousConnectionError" in other_log.read_text()
        assert first.poll() is None
        hosts.set_link(up=True)
        again, _ = run.launch(1)
        check_whole(run, first, again)
        assert worlds(log) == ["2", "2"]
        print(f"link cut for long: its host ended after {ended:.0f} s; started again, it rejoined")


@pytest.fixture
def group_of_one() -> Generator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_bf16_gradients_are_fp32_ones_rounded_on_their_way():
    network = torch.nn.Linear(7, 5)
    pictures = torch.rand(3, 7)
    network(pictures).square().sum().backward()
    exact = [parameter.grad for parameter in network.parameters()]
    network.zero_grad()
    world = ProcessGroupWorld(world_size=2)  # a world of one would not wrap
    wrapped = world.wrap(
        network, 16, "bf16"
    )  # kept: without it the exchange is gone before the backward pass
    wrapped(pictures).square().sum().backward()
    for expected, parameter in zip(exact, network.parameters(), strict=True):
        assert expected is not None
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32
        assert torch.equal(parameter.grad, expected.bfloat16().float())
        assert not torch.equal(parameter.grad, expected)
