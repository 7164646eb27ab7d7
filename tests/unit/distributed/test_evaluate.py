"""python -m distributed.evaluate in this process."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from published_helpers import write_published

from distributed.evaluate import main
from lisa.config import Config, DataConfig, ModelConfig
from lisa.errors import InputError
from lisa.labels import Label, LabelSet
from lisa.models import build
from lisa.run.checkpoint import PUBLISHED, payload, save


def test_the_published_file_is_evaluated_as_the_authors(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    path = write_published(tmp_path / "best_model.pth")
    words = ["--checkpoint", path, "--data", make_faces(), "--output", tmp_path / "val.json", "--size", "32"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words)])
    assert main() == 0
    assert f"{path}: {PUBLISHED}" in capsys.readouterr().out.splitlines()
    record = json.loads((tmp_path / "val.json").read_text())
    assert record["origin"] == PUBLISHED
    assert 0 <= record["miou"] <= 1


def test_the_checkpoint_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = write_published(tmp_path / "best_model.pth")
    before = path.read_bytes()
    words = ["--checkpoint", str(path), "--data", "x", "--output", str(path)]
    monkeypatch.setattr("sys.argv", ["evaluate", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "is the checkpoint" in " ".join(capsys.readouterr().err.split())
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_not_written_over(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    path, output = write_published(tmp_path / "best_model.pth"), tmp_path / "val [bold].json"
    words = ["--checkpoint", path, "--data", make_faces(), "--output", output, "--size", "32"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words)])
    output.write_text('{"optim": {}}')
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "no evaluation's" in " ".join(capsys.readouterr().err.split())
    assert output.read_text() == '{"optim": {}}'
    output.unlink()
    for _ in range(2):  # its own figures it may write anew
        assert main() == 0
        assert f"{output} and {tmp_path}/val [bold]_pictures/" in capsys.readouterr().out
    assert json.loads(output.read_text())["miou_interval"] is None  # of few pictures


def test_labels_of_one_side_are_not_averaged_with_the_mirrored_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """There the other hand would have this one's name."""
    labels = LabelSet("one", (Label("rest", (0, 0, 0)), Label("left_hand", (0, 0, 9))))
    tiny = ModelConfig(widths=(4, 4, 6, 6, 8), depths=(1, 1, 1, 1, 1))
    config = Config(data=DataConfig(size=32), model=tiny, labels=labels)
    save(payload(build(tiny, 2).state_dict(), config, {"miou": 0.5}), tmp_path / "best.pt")
    words = ["--checkpoint", tmp_path / "best.pt", "--data", "x", "--output", tmp_path / "val.json"]
    monkeypatch.setattr("sys.argv", ["evaluate", *map(str, words), "--tta", "flip"])
    with pytest.raises(InputError, match=r"left_hand: no label for the other side, .*: leave out --tta flip"):
        main()
