"""Two hosts on a cable with a delay, for kernels without netem: frames wait in a queue on their way.

The cable's ends are tap devices, one in each namespace; a thread per direction carries frames from one
to the other. Jumbo frames keep what Python costs per frame small; ``delay`` 0 shows what is left of it.
"""

import errno
import os
import select
import struct
import threading
import time
from collections import deque
from fcntl import ioctl
from types import TracebackType

from benchmarks.network.hosts import TwoHosts, command

_TUNSETIFF = 0x400454CA
_IFF_TAP_NO_PI = 0x0002 | 0x1000
_MTU = 9000


class FarHosts(TwoHosts):
    """TwoHosts whose frames take ``delay`` seconds each way; it may be changed while they run."""

    def __init__(self, net: int = 1) -> None:
        super().__init__(net)
        self.delay = 0.0
        self._taps: list[int] = []
        self._open = True

    def plug(self) -> None:
        """Makes the cable: a tap in each namespace, and the threads that join them."""
        for name, card in zip(self.names, self.cards, strict=True):
            tap = os.open("/dev/net/tun", os.O_RDWR)
            self._taps.append(tap)
            ioctl(tap, _TUNSETIFF, struct.pack("16sH14x", card.encode(), _IFF_TAP_NO_PI))
            # A queue that holds a whole step's gradients: frames are late here, never lost.
            command("ip", "link", "set", card, "mtu", _MTU, "txqueuelen", 10000, "netns", name)
        for source, target in (self._taps, self._taps[::-1]):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        super().__exit__(kind, error, trace)

    def _carry(self, source: int, target: int) -> None:
        waiting: deque[tuple[float, bytes]] = deque()
        while self._open:
            pause = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.1
            try:
                if select.select([source], [], [], pause)[0]:
                    waiting.append((time.monotonic() + self.delay, os.read(source, _MTU + 100)))
                while waiting and waiting[0][0] <= time.monotonic():
                    os.write(target, waiting.popleft()[1])
            except OSError as error:
                if error.errno == errno.EBADFD:
                    return  # the namespace, and the card in it, is gone
                if error.errno != errno.EIO:
                    raise
                # The card is down: it loses frames, as any other.
