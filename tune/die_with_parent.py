"""Runs a command that ends with the process that started it: ``python -m tune.die_with_parent COMMAND``.

A Ray worker killed with -9 can't stop the processes of its trial. Here the kernel does.
"""

import os
import sys

from lisa.system.process import die_with_parent


def main() -> None:
    """Asks for SIGTERM at the parent's death, then becomes the command."""
    parent = int(os.environ["LISA_TIED_TO"])
    die_with_parent()
    if os.getppid() != parent:  # it died before the kernel was asked
        raise SystemExit(1)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
