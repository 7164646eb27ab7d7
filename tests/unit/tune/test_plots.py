"""A search's plots as files."""

import errno
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

from lisa.config import RECIPES
from lisa.errors import InputError
from tune.experiment import Outcome
from tune.plots import draw_plots
from tune.space import Space


def test_a_full_disk_leaves_the_former_plot_and_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    space = Space(RECIPES["best"]())
    outcomes = [Outcome("one", space.start(), {"best_miou": 0.5, "diverged": False}, "", finished=True)]
    assert draw_plots(tmp_path, space, outcomes, two_objectives=False) == ["best_so_far.png", "parallel.png"]
    before = (tmp_path / "best_so_far.png").read_bytes()
    assert before.startswith(b"\x89PNG")

    def write_half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(InputError, match=r"can't write .*/best_so_far\.png: No space left on device; make"):
        draw_plots(tmp_path, space, outcomes, two_objectives=False)
    assert (tmp_path / "best_so_far.png").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"best_so_far.png", "parallel.png"}
    assert plt.get_fignums() == []
