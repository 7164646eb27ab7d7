"""One run per folder: a lock that the kernel gives back when its process dies, however it dies."""

import errno
import fcntl
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import IO

from lisa.errors import InputError
from lisa.system.files import read_object

LOCK = "lock"
SEEN_SECONDS = 60.0
"""A network file system shows a new file to other hosts so late at most, with its usual settings."""

logger = logging.getLogger(__name__)


def lock_folder(folder: Path) -> IO[str]:
    """Locks the folder for this process until the returned file is closed.

    A POSIX record lock: the loader's forked workers, which outlive a killed trainer by seconds, do not
    inherit it, and NFS carries it between hosts (where a lost host's lock lasts as long as the server's
    lease, 90 s by default).

    Raises:
        InputError: another process, here or on another host, trains into this folder.
    """
    path = folder / LOCK
    file = path.open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        raise InputError(
            f"{folder}: {_holder(path)} trains into it; wait for it, stop it, or choose another --output"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        logger.warning("%s: no locks on this file system: start one run in it at a time", folder)
    file.truncate(0)
    file.write(json.dumps({"host": platform.node(), "pid": os.getpid()}) + "\n")
    file.flush()
    return file


def require_lock_of(folder: Path, host: str, pid: int) -> None:
    """Waits until this host sees the lock that another process, here or on another host, holds on the folder.

    Not for the holder itself, whose lock ends as soon as it closes the file anywhere.

    Raises:
        InputError: it does not see it, for its folder is another one.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while read_object(folder / LOCK) != {"host": host, "pid": pid}:
        if time.monotonic() > deadline:
            raise InputError(
                f"{platform.node()} does not see in {folder} what {host} writes there: --output needs one "
                "folder that all hosts share"
            )
        time.sleep(0.2)


def _holder(path: Path) -> str:
    """Who wrote the lock file; it may be empty, or not yet written."""
    holder = read_object(path)
    return f"process {holder['pid']} on {holder['host']}" if holder else "another process"
