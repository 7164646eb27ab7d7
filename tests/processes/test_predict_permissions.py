"""What the predictor may not read or write."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deploy_helpers import files, write_faces

from deploy import predict

TWICE = """
import sys
from deploy import predict

source, locked, readonly, *options = sys.argv[1:]
print("codes", *[predict.main([*options, "--input", source, "--output", out]) for out in (locked, readonly)])
"""
"""Two runs in one process, so that torch is imported once."""


def without_roots_privilege() -> list[str]:
    """Permissions don't bind root: a prefix for a command that they shall bind."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root, and no setpriv")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


FORBIDDEN = """
import sys
from deploy import predict

model, inside = sys.argv[1:]
for place in ("--model", "--input"):
    options = {"--model": model, "--input": "in", "--output": "out", place: inside}
    print(predict.main([word for pair in options.items() for word in pair]))
"""


@pytest.mark.slow
def test_places_that_may_not_even_be_asked_for(model: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        done = subprocess.run(
            [*without_roots_privilege(), sys.executable, "-c", FORBIDDEN, str(model), str(closed / "x.ts")],
            cwd=Path(predict.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        closed.chmod(0o755)
    assert done.stdout == "2\n2\n", done.stderr
    assert all(line.startswith("error: ") for line in done.stderr.splitlines()), done.stderr
    assert done.stderr.count(f"{closed}/x.ts: Permission denied") == 2


@pytest.mark.slow
def test_unreadable_and_unwritable_places(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1)
    write_faces(tmp_path / "in" / "sub", 1)
    (unreadable,) = write_faces(tmp_path / "in" / "other", 1)
    write_faces(tmp_path / "in" / "closed", 1)
    for folder in ("out/sub", "readonly"):
        (tmp_path / folder).mkdir(parents=True)
    modes = {unreadable: 0, tmp_path / "in" / "closed": 0, tmp_path / "out" / "sub": 0o555}
    modes[tmp_path / "readonly"] = 0o555
    for path, mode in modes.items():
        path.chmod(mode)
    places = [str(tmp_path / name) for name in ("in", "out", "readonly")]
    command = [*without_roots_privilege(), sys.executable, "-c", TWICE, *places]
    try:
        done = subprocess.run(
            [*command, "--model", str(model), "--device", "cpu"],
            cwd=Path(predict.__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for path in modes:
            path.chmod(0o755)
    assert "codes 1 2" in done.stdout, done.stderr
    assert done.stderr == f"error: --output {tmp_path}/readonly: Permission denied\n"
    assert files(tmp_path / "out") == ["face0.png"]
    assert list((tmp_path / "readonly").iterdir()) == []
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {os.path.relpath(path, tmp_path / "in"): reason for path, reason in report["failed"].items()} == {
        "closed": "Permission denied",
        "other/face0.jpg": "Permission denied",
        "sub/face0.jpg": "not written: Permission denied",
    }
    assert report["pictures_per_second"] == report["done"] / report["seconds"] > 0
    assert all(report["split"][part] > 0 for part in ("decode", "network", "encode"))
