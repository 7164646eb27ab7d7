"""A trial's folder behind a URL."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest

from tune.storage import KEPT, TrialFolder


def test_what_is_mirrored_belongs_together_though_the_run_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A run saves best.pt and last.pt while the slow store takes what was there before."""
    run, place = tmp_path / "run", tmp_path / "store"
    run.mkdir()
    for name in KEPT:
        (run / name).write_text("epoch 1")
    copy, copied = shutil.copyfileobj, list[Any]()

    def slow(source: io.BufferedReader, target: Any) -> None:
        copy(source, target)
        copied.append(source)
        for name in ("best.pt", "last.pt"):
            (run / "new").write_text(f"epoch {len(copied) + 1}")
            (run / "new").replace(run / name)

    monkeypatch.setattr(shutil, "copyfileobj", slow)
    folder = TrialFolder(f"file://{place}", run)
    folder.push()
    assert {name: (place / name).read_text() for name in KEPT} == dict.fromkeys(KEPT, "epoch 1")
    folder.push()
    assert (place / "last.pt").read_text() == (place / "best.pt").read_text() == "epoch 5"
    assert sorted(path.name for path in place.iterdir()) == sorted(KEPT)
