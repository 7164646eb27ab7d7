"""--input and --output: what is read, and what is never replaced."""

import os
from pathlib import Path

import pytest
from deploy_helpers import face, files, parse, write_faces
from PIL import Image

from deploy.predictor.command import main
from deploy.predictor.inputs import find_pictures


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    write_faces(tmp_path / "in", 2)
    return tmp_path / "in"


def test_inputs_are_never_replaced(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for picture in write_faces(tmp_path / "faces", 2):
        Image.open(picture).save(tmp_path / "in" / f"{picture.stem}.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/in/face1.png\n")
    before = {path: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    monkeypatch.chdir(tmp_path / "in")
    for source, output in (
        (Path("face0.png"), Path()),
        (tmp_path / "in/*.png", tmp_path / "link"),
        (tmp_path / "list.txt", tmp_path / "in"),
    ):
        assert parse(model, source, output) == 2, source
        assert "is an input picture, which an output would replace" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "in").iterdir()} == before


def names(source: str | Path, output: Path) -> list[str]:
    return [job.name for job in find_pictures(str(source), output)]


def test_input_may_be_a_file_a_pattern_or_a_list(tmp_path: Path) -> None:
    output = tmp_path / "out"
    for name in ("a/x.jpg", "a/deep/y.png", "b/z.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names(tmp_path / "a" / "x.jpg", output) == ["x"]
    assert names(f"{tmp_path}/**/*.jpg", output) == ["a/x", "b/z"]
    (tmp_path / "list.txt").write_text("b/z.jpg\n\na/deep/y.png\nb/z.jpg\n")
    assert names(tmp_path / "list.txt", output) == ["b/z", "a/deep/y"]
    assert names(os.path.relpath(tmp_path / "a"), output) == ["deep/y", "x"]


def test_listed_picture_that_is_missing_fails_alone(model: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("in/face0.jpg\nin/gone.jpg\n")
    assert parse(model, tmp_path / "list.txt", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["face0.png"]


def test_outputs_that_would_replace_one_another_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x.jpg", "color/x.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        face().save(tmp_path / "in" / name)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert parse(model, tmp_path / "in", tmp_path / "out", "--color") == 2
    assert "would both be written to" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--input", "--output"])
def test_an_empty_place_is_not_the_current_folder(
    model: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Say, of a shell's variable that is not set."""
    places = {"--input": str(faces), "--output": str(tmp_path / "out"), option: ""}
    with pytest.raises(SystemExit):
        main(["--model", str(model), *(word for pair in places.items() for word in pair)])
    assert f"argument {option}: empty; . is the current folder" in capsys.readouterr().err
