"""deploy/predict.py without --model: the weights in the box, exported once."""

from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import face, read_ids

import lisa
from deploy.boxed import boxed_model
from deploy.predictor.command import main
from deploy.predictor.options import arguments
from lisa.data.pictures import upright_rgb


@pytest.mark.slow
def test_without_a_model_the_box_parses_and_is_exported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "in").mkdir()
    face(200).save(tmp_path / "in/face.png")
    options = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(options, default_model=boxed_model) == 0
    (exported,) = (tmp_path / "cache/lisa").iterdir()
    assert str(exported) in capsys.readouterr().err
    assert boxed_model() == exported
    assert capsys.readouterr().err == ""
    ids = lisa.load(device="cpu")(upright_rgb(face(200))).ids
    assert (read_ids(tmp_path / "out/face.png") == np.asarray(ids)).mean() > 0.9999


def test_a_cache_that_can_not_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    options = ["--input", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main(options, default_model=boxed_model) == 2
    assert "error:" in capsys.readouterr().err


def test_a_user_without_a_home_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where the user's number has no name
    assert main(["--input", "x", "--output", "y"], default_model=boxed_model) == 2
    assert "error: no home folder to keep the exported weights in" in capsys.readouterr().err


def test_a_predictor_that_was_handed_on_needs_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--input", "x", "--output", "y"])
    assert "--model" in capsys.readouterr().err
