"""The model file is the program, and so is predict.pyz."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from deploy_helpers import files, parse, write_faces

from deploy import predict


def run_alone(folder: Path, *command: str | Path) -> str:
    """What a program prints that runs from another folder and sees nothing of this project."""
    done = subprocess.run(
        [sys.executable, "-I", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_model_is_the_program(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "expected", "--overlay", "--gallery") == 0
    options = ("--input", "in", "--output", "out", "--device", "cpu", "--overlay", "--gallery")
    assert "1 done" in run_alone(tmp_path, model, *options)
    assert files(tmp_path / "out") == files(tmp_path / "expected")
    for name in files(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes(), name


def test_program_alone_runs_models_without_one(model: Path, tmp_path: Path) -> None:
    """Models of earlier exports hold none."""
    write_faces(tmp_path / "in", 1)
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(tmp_path / "old.ts", "w") as target:
        for name in source.namelist():
            if "predictor" not in name and name != "__main__.py":
                target.writestr(name, source.read(name))
    root = Path(predict.__file__).parents[1]
    for path in (tmp_path / "predict.pyz", tmp_path / "again.pyz"):
        command = [sys.executable, "-m", "deploy.bundle", "--output", str(path)]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    assert (tmp_path / "predict.pyz").read_bytes() == (tmp_path / "again.pyz").read_bytes()
    options = ("--model", "old.ts", "--input", "in", "--output", "out", "--device", "cpu")
    assert "1 done" in run_alone(tmp_path, "predict.pyz", *options)
    assert files(tmp_path / "out") == ["face0.png"]


def test_door_runs_as_a_script(model: Path, tmp_path: Path) -> None:
    (picture,) = write_faces(tmp_path / "in", 1)
    assert "1 done" in run_alone(
        tmp_path, predict.__file__, "--model", model, "--input", picture, "--output", tmp_path / "out"
    )
    assert files(tmp_path / "out") == ["face0.png"]


@pytest.mark.parametrize("missing", ["torch", "rich"])
def test_missing_package_is_one_line(model: Path, missing: str) -> None:
    program = f"import runpy, sys; sys.modules['{missing}'] = None; runpy.run_path('{model}')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert missing in done.stderr
    assert done.stderr.count("\n") == 1
