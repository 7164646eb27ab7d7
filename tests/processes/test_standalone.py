"""The files that leave the project work without it: a model, which is the program too, and a C++ program."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import face, files, parse, read_ids, write_faces
from PIL import Image

from deploy import predict

CPP = Path(predict.__file__).parent / "cpp"


def run(*command: str | Path, folder: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv") is None, reason="builds an environment with uv")
def test_model_needs_four_packages_and_nothing_else(model: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run("uv", "venv", "--python", sys.executable, tmp_path / "venv")
    pinned = [f"{name}=={version(name).split('+')[0]}" for name in ("torch", "numpy", "pillow", "rich")]
    run("uv", "pip", "install", "--python", python, *pinned)
    installed = run("uv", "pip", "list", "--python", python)
    assert "timm" not in installed
    assert "lisa" not in installed
    shutil.copy(model, tmp_path)
    write_faces(tmp_path / "in", 2)
    options = ["--input", "in", "--output", "alone", "--device", "cpu", "--overlay"]
    assert "2 done" in run(python, "-I", "lisa.ts", *options, folder=tmp_path)
    assert parse(model, tmp_path / "in", tmp_path / "here") == 0
    assert files(tmp_path / "alone") == ["face0.png", "face1.png", "overlay/face0.jpg", "overlay/face1.jpg"]
    for name in ("face0.png", "face1.png"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("c++") is None, reason="needs cmake and c++"
)
def test_cpp_example_gives_the_same_labels(model: Path, tmp_path: Path) -> None:
    libtorch = f"-DTORCH={Path(torch.__file__).parent}"
    run("cmake", "-S", CPP, "-B", tmp_path / "build", "-DCMAKE_BUILD_TYPE=Release", libtorch)
    run("cmake", "--build", tmp_path / "build")
    face().resize((50, 70)).save(tmp_path / "face.ppm")
    program = tmp_path / "build" / "parse"
    run(program, model, tmp_path / "face.ppm", tmp_path / "labels.pgm")
    (tmp_path / "in").mkdir()
    os.link(tmp_path / "face.ppm", tmp_path / "in" / "face.ppm")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    with Image.open(tmp_path / "labels.pgm") as labels:
        assert labels.size == (50, 70)
        assert (np.asarray(labels) == read_ids(tmp_path / "out" / "face.png")).mean() > 0.9995
    (tmp_path / "short.ppm").write_bytes((tmp_path / "face.ppm").read_bytes()[:-1])
    wrong = [program, model, tmp_path / "short.ppm", tmp_path / "none.pgm"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"error: {tmp_path}/short.ppm: truncated\n")
    assert not (tmp_path / "none.pgm").exists()
