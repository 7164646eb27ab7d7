"""Two hosts on one machine: network namespaces joined by a cable that can be cut, shaped and made long.

Needs root and Linux. Tests of lost hosts and cut links stand on it, and benchmarks.network.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


def command(*words: object) -> str:
    """Runs it and returns what it printed; OSError with its own words if it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(done.args)}: {done.stderr.strip()}")
    return done.stdout


class TwoHosts:
    """Two namespaces, ``addresses`` 10.73.<net>.1 and .2 on the two ends of a veth pair.

    Hosts are numbered 0 and 1. Use as a context: at its end all processes of both hosts are killed.
    Raises OSError where this kernel or user may not do it.
    """

    def __init__(self, net: int = 0) -> None:
        self.names = [f"lisa{net}-{host}" for host in (0, 1)]
        self.cards = [f"lisa{net}c{host}" for host in (0, 1)]
        self.addresses = [f"10.73.{net}.{host + 1}" for host in (0, 1)]

    def __enter__(self) -> "TwoHosts":
        self._tear_down()  # what a killed run left
        for name in self.names:
            command("ip", "netns", "add", name)
        self.plug()
        for name, card, address in zip(self.names, self.cards, self.addresses, strict=True):
            command("ip", "-n", name, "address", "add", f"{address}/24", "dev", card)
            command("ip", "-n", name, "link", "set", "lo", "up")
            command("ip", "-n", name, "link", "set", card, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tear_down()

    def plug(self) -> None:
        """Makes the cable: one card in each namespace."""
        first, second = self.cards
        command("ip", "link", "add", first, "type", "veth", "peer", "name", second)
        for name, card in zip(self.names, self.cards, strict=True):
            command("ip", "link", "set", card, "netns", name)

    def start(self, host: int, words: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        """Popen of the words on that host, with text streams."""
        inside = ["ip", "netns", "exec", self.names[host], *words]
        return subprocess.Popen(inside, text=True, **options)

    def environment(self, host: int) -> dict[str, str]:
        """What a process needs to take this host's end of the cable."""
        return {**os.environ, "GLOO_SOCKET_IFNAME": self.cards[host]}

    def kill(self, host: int) -> None:
        """kill -9 of everything on that host, as a power failure would (but its sockets are closed)."""
        while pids := command("ip", "netns", "pids", self.names[host]).split():
            subprocess.run(["kill", "-9", *pids], capture_output=True, check=False)

    def set_link(self, up: bool) -> None:
        """Cuts the cable, or mends it."""
        for name, card in zip(self.names, self.cards, strict=True):
            command("ip", "-n", name, "link", "set", card, "up" if up else "down")

    def shape(self, megabits: float | None) -> None:
        """Both directions carry so many Mbit/s (a token bucket), or as many as they can."""
        for name, card in zip(self.names, self.cards, strict=True):
            if "tbf" in command("tc", "-n", name, "qdisc", "show", "dev", card):
                command("tc", "-n", name, "qdisc", "del", "dev", card, "root")
            if megabits is not None:
                bucket = ("burst", "256kb", "latency", "200ms")
                command("tc", "-n", name, "qdisc", "add", "dev", card, "root", "tbf", "rate",
                     f"{megabits}mbit", *bucket)  # fmt: skip

    def _tear_down(self) -> None:
        for host, name in enumerate(self.names):
            if Path("/run/netns", name).exists():
                self.kill(host)
                command("ip", "netns", "del", name)
