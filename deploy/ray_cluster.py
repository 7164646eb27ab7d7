"""The Ray cluster that deploy.cluster runs on: found, or begun, and left."""

import logging
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.predictor.errors import CannotStartError


@contextmanager
def ray_cluster() -> Generator[None]:
    """The cluster of RAY_ADDRESS, or one here that ends with the block. Raises CannotStartError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else the checkout is shipped, data and all
    import ray
    import ray.exceptions

    from lisa.system.listener import why_silent  # not above: a cluster's nodes are sent deploy alone

    address = os.environ.get("RAY_ADDRESS", "")
    if reason := why_silent(address):
        raise CannotStartError(f"RAY_ADDRESS {address}: {reason}")
    code: dict[str, Any] = {"py_modules": [str(Path(__file__).parent)]}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env=code)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        if "AF_UNIX path length" in reason:
            reason += ": set RAY_TMPDIR to a shorter folder, such as /tmp"
        place = f"RAY_ADDRESS {address}" if address else "Ray on this machine"
        raise CannotStartError(f"{place}: {reason}") from None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray's own would leave without a report
    try:
        yield
    finally:
        ray.shutdown()
