"""A folder that holds a run: it goes on as it was begun, or is refused and left as it is."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_helpers import small_run

from lisa.config import Config, DataConfig, ModelConfig
from lisa.data.folders import find_pairs
from lisa.errors import InputError
from lisa.labels.celebamask import CELEBAMASK
from lisa.run import checkpoint
from lisa.training.loop import Result, fit
from lisa.training.precision import settle_precision
from lisa.world import World


def test_resuming_a_finished_run_does_nothing(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    first = fit(config, World())
    assert fit(config, resume=True) == Result(first.best_miou, 1, 1, finished=True)


def test_a_folder_that_holds_a_run_is_refused(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    nowhere = dataclasses.replace(config, data=DataConfig(root="nowhere"))
    for other in (config, nowhere):  # before any picture is read
        with pytest.raises(InputError, match="holds a run: go on with --resume"):
            fit(other, World())
    for name in ("last.pt", "previous.pt"):  # best.pt and the logs may be all that somebody keeps
        (tmp_path / "run" / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match="holds a run"):
        fit(config, World())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"mine": 1}'),
        ("config.json", "notes"),
        ("summary.json", "[]"),
        ("summary.json", "{}"),
    ],
)
def test_somebodys_own_files_are_not_written_over(
    make_faces: Callable[..., Path], tmp_path: Path, name: str, content: str
):
    config = small_run(make_faces(), tmp_path, epochs=1)
    (tmp_path / name).write_text(content)
    for resume in (False, True):
        with pytest.raises(InputError, match=f"{name} is there, and no run left it so"):
            fit(config, World(), resume=resume)
    assert (tmp_path / name).read_text() == content


def test_a_log_outlives_its_checkpoints(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    for name in ("last.pt", "previous.pt", "best.pt"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    log = (tmp_path / "run/metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"metrics.jsonl is of a run whose checkpoints are gone"):
        fit(config, World())
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == log
    fit(config, World(), resume=True)
    (tmp_path / "run/best.pt").rename(tmp_path / "run/last.pt")
    with pytest.raises(InputError, match=r"last.pt holds weights, and no run to go on with: .* --init"):
        fit(config, World(), resume=True)


def test_a_run_whose_validation_faces_changed_finds_another_best(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Figures on others don't compare: harder ones would never give a best.pt again."""
    root = make_faces()
    fit(small_run(root, tmp_path / "run", epochs=1), World())
    root = root.rename(tmp_path / "elsewhere")
    fit(small_run(root, tmp_path / "run", epochs=2), World(), resume=True)
    assert "validation faces are others" not in capsys.readouterr().out
    last = checkpoint.load(tmp_path / "run/last.pt")
    last["training"]["best"] = 0.99
    torch.save(last, tmp_path / "run/last.pt")
    first = find_pairs(root, "val")[0]
    first.image.unlink()
    first.mask.unlink()
    finished = fit(small_run(root, tmp_path / "run", epochs=2), World(), resume=True)
    assert finished.best_miou == 0.99  # no epoch is to come that could be better
    assert "validation faces are others" not in capsys.readouterr().out
    result = fit(small_run(root, tmp_path / "run", epochs=3), World(), resume=True)
    assert "validation faces are others than before: the best from now on" in capsys.readouterr().out
    assert result.best_epoch == 3
    records = (json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    best = [record["best_epoch"] for record in records if record["event"] == "epoch"]
    assert best[-1] == 3  # what a search ranks the run by


def test_a_run_that_goes_on_keeps_what_it_began_with(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = make_faces()
    fit(small_run(root, tmp_path / "run", epochs=1), World())
    asked = small_run(root, tmp_path / "run", epochs=2)
    asked = dataclasses.replace(asked, train=dataclasses.replace(asked.train, init="drawn"))
    fit(asked, World(), resume=True)
    assert "--init drawn changes nothing" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "run/last.pt")["config"]["train"]["init"] == ""


def test_a_run_whose_best_weights_are_gone_finds_others(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Its last checkpoint alone was copied, say: an epoch that is no better than the lost one counts."""
    root = make_faces()
    fit(small_run(root, tmp_path / "run", epochs=1), World())
    (tmp_path / "run/best.pt").unlink()
    last = checkpoint.load(tmp_path / "run/last.pt")
    last["training"]["best"] = 0.99
    torch.save(last, tmp_path / "run/last.pt")
    result = fit(small_run(root, tmp_path / "run", epochs=2), World(), resume=True)
    assert "best.pt of epoch 1 is not there: the best from now on counts" in capsys.readouterr().out
    assert result.best_epoch == 2
    assert checkpoint.load(tmp_path / "run/best.pt")["metrics"]["miou"] == result.best_miou


def test_resuming_with_another_network_is_refused(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    other = dataclasses.replace(config, model=ModelConfig(activation="relu"))
    with pytest.raises(
        InputError, match=r"trained with model.activation prelu \(now relu\): give it as before"
    ):
        fit(other, World(), resume=True)
    settled = settle_precision(config, World())
    assert Config.from_json((tmp_path / "run/config.json").read_text()) == settled


def test_a_run_goes_on_however_its_pairs_are_written(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    pairs = tuple((right, left) for left, right in reversed(CELEBAMASK.pairs))
    again = dataclasses.replace(config, labels=dataclasses.replace(CELEBAMASK, pairs=pairs))
    assert fit(again, World(), resume=True).epochs == 1
    more = dataclasses.replace(CELEBAMASK, pairs=(*CELEBAMASK.pairs, ("u_lip", "l_lip")))
    with pytest.raises(InputError, match=r"trained on another set 'celebamask'.*: give --labels as before"):
        fit(dataclasses.replace(config, labels=more), World(), resume=True)


def test_a_run_keeps_its_bound(make_faces: Callable[..., Path], tmp_path: Path):
    config = small_run(make_faces(), tmp_path / "run", epochs=1)
    tiny = ModelConfig(widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1), bound=3.0)
    fit(dataclasses.replace(config, model=tiny), World())
    other = dataclasses.replace(config, model=dataclasses.replace(tiny, bound=5.0))
    with pytest.raises(InputError, match=r"trained with model.bound 3.0 \(now 5.0\)"):
        fit(other, World(), resume=True)
