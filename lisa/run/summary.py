"""``summary.json``: what a run was, where and how often it was started, how long it took, how good it got."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import lisa
from lisa.config import Config
from lisa.run.names import SUMMARY
from lisa.system.files import read_object, write_json

PACKAGES = ("torch", "timm", "kornia", "numpy")


class Summary:
    """Written when a run starts and when it ends; one entry of ``starts`` for each time it was started."""

    def __init__(self, folder: Path, config: Config, hosts: list[str], step: int, resumed: bool) -> None:
        self._path = folder / SUMMARY
        self._start: dict[str, Any] = {
            "started": _now(),
            "from_step": step,
            "hosts": hosts,
            "commit": commit(),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in PACKAGES},
            },
        }
        former = read_object(self._path).get("starts") if resumed else None
        starts: list[dict[str, Any]] = [*(former if isinstance(former, list) else []), self._start]
        self._content: dict[str, Any] = {
            "config": config.to_dict(),
            "starts": starts,
            "restarts": len(starts) - 1,
        }
        write_json(self._path, self._content)

    def end(self, how: str, **figures: Any) -> None:
        """Completes the last start: ``how`` it ended, and the run's figures so far."""
        ended = _now()
        begun = datetime.fromisoformat(self._start["started"])
        seconds = (datetime.fromisoformat(ended) - begun).total_seconds()
        self._start.update(ended=ended, seconds=seconds, how=how)
        self._content.update(figures)
        write_json(self._path, self._content)


def commit() -> str | None:
    """The checkout's commit, with -dirty if files were changed; None for an installed package."""
    root = Path(lisa.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or a checkout of somebody else's
        return None
    return done.stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
