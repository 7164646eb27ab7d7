"""The raw release's conversion as a command, and what it leaves."""

import subprocess
import sys
from pathlib import Path

FACES = 60
"""In the release that tests convert."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(source: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "lisa.data.celebamask", "--source", str(source), "--output", str(output)]


def run_conversion(source: Path, output: Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(source, output), capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
