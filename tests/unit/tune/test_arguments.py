"""A search's folder is claimed, and free again if the command was wrong."""

import json
from pathlib import Path

import pytest

from lisa.errors import InputError
from tune.arguments import MARKER, Options, claim


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_bad_input_before_the_first_trial_leaves_the_folder_free(kind: str, tmp_path: Path):
    results = str(tmp_path / "s") if kind == "folder" else f"file://{tmp_path}/s"

    def refuse() -> None:
        with claim(results, {"trials": 1}, resume=False):
            assert (tmp_path / "s" / MARKER).exists()
            raise InputError("no node sees the data")

    for _ in range(2):  # the second without --resume
        with pytest.raises(InputError, match="no node"):
            refuse()
    assert list((tmp_path / "s").iterdir()) == []
    with claim(results, {"trials": 2}, resume=False):
        (tmp_path / "s/trials").mkdir()
    assert json.loads((tmp_path / "s" / MARKER).read_text()) == {"trials": 2}


def test_a_folder_with_trials_stays_claimed(tmp_path: Path):
    def fail_later() -> None:
        with claim(str(tmp_path), {}, resume=False):
            (tmp_path / "trials").mkdir()
            raise InputError("later")

    with pytest.raises(InputError, match="later"):
        fail_later()
    with (
        pytest.raises(InputError, match="holds a search: go on with --resume"),
        claim(str(tmp_path), {}, False),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "--threads 0: at least 1"),
        ({"gpus_per_trial": -1.0}, r"--gpus-per-trial -1\.0: at least 0"),
        ({"gpus_per_trial": 1.5}, r"--gpus-per-trial 1\.5: a part of one GPU"),
        ({"processes_per_trial": 0}, "--processes-per-trial 0: at least 1"),
        ({"processes_per_trial": 2, "gpus_per_trial": 1.0}, "--processes-per-trial 2: for CPUs alone"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Options(**options)  # pyright: ignore[reportArgumentType]
