"""Runs a command that ends with the process that started it: ``python -m tune.die_with_parent COMMAND``.

A Ray worker killed with -9 can't stop the processes of its trial. Here the kernel does.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks for SIGTERM at the parent's death, then becomes the command."""
    parent = int(os.environ["LISA_TIED_TO"])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        raise SystemExit(1)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
