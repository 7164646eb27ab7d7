"""summary.json: complete, and one entry for each start, also of a run that was killed."""

import json
from pathlib import Path

import pytest

import lisa
from lisa.config import Config
from lisa.run.summary import Summary, commit


def test_starts_add_up_and_the_last_is_completed(tmp_path: Path):
    Summary(tmp_path, Config(), ["a", "b"], step=0, resumed=False)  # killed
    summary = Summary(tmp_path, Config(), ["a", "c"], step=7, resumed=True)
    summary.end("finished", best={"miou": 0.5, "epoch": 3}, epochs=4)
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["restarts"] == 1
    assert [start["hosts"] for start in told["starts"]] == [["a", "b"], ["a", "c"]]
    assert [start.get("how") for start in told["starts"]] == [None, "finished"]
    assert told["starts"][1]["from_step"] == 7
    assert told["starts"][1]["versions"]["torch"]
    assert Config.from_dict(told["config"]) == Config()
    assert told["best"] == {"miou": 0.5, "epoch": 3}
    Summary(tmp_path, Config(), ["a"], step=0, resumed=False)  # another run
    assert json.loads((tmp_path / "summary.json").read_text())["restarts"] == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"starts": null}'])
def test_a_damaged_summary_is_begun_anew(tmp_path: Path, content: str):
    (tmp_path / "summary.json").write_text(content)
    Summary(tmp_path, Config(), ["a"], step=7, resumed=True).end("stopped")
    assert json.loads((tmp_path / "summary.json").read_text())["restarts"] == 0


def test_the_commit_is_the_checkouts():
    found = commit()
    if (Path(lisa.__file__).parents[1] / ".git").exists():
        assert found is not None
        assert len(found.removesuffix("-dirty")) == 40
    else:
        assert found is None
