"""The predictor killed, stopped, and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deploy_helpers import face, files, parse, write_faces
from PIL import Image

from deploy import predict
from deploy.predictor import command
from deploy.predictor.outputs import Writer


def start(model: Path, tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, predict.__file__, "--model", str(model), "--device", "cpu", *options]
    command += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(count: int, folder: Path) -> None:
    """Until that many label maps stand."""
    end = time.monotonic() + 600
    while len(list(folder.glob("*.png"))) < count:
        assert time.monotonic() < end
        time.sleep(0.005)


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from deploy import predict

output, chance = Path(sys.argv[sys.argv.index("--output") + 1]), random.Random(0)
for _ in range(8):
    before = len(list(output.glob("*.png")))
    child = os.fork()
    if child == 0:
        os._exit(predict.main(sys.argv[1:]))
    wanted = before + chance.randint(0, 8)
    while len(list(output.glob("*.png"))) < wanted and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(len(list(output.glob("*.png"))), flush=True)
"""
"""Kills eight runs at random moments. Forks, so that torch is imported once."""


@pytest.mark.slow
def test_killed_again_and_again_it_still_ends_with_every_map_whole(model: Path, tmp_path: Path) -> None:
    for index in range(100):
        face().rotate(index).save(_folder(tmp_path / "in") / f"{index:03}.png")
    options = ["--model", str(model), "--device", "cpu", "--overlay"]
    options += ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    root = Path(predict.__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", KILLER, *options], cwd=root, capture_output=True, text=True, check=False
    )
    counts = [int(line) for line in killed.stdout.splitlines() if line.isdigit()]
    assert len(counts) == 8, killed.stderr
    assert 8 < counts[-1] < 100
    for path in (tmp_path / "out").rglob("*.[pj][np]g"):
        with Image.open(path) as image:
            image.load()
    assert predict.main(options) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["done"] + report["skipped"] == 100
    assert report["skipped"] == counts[-1]  # the map is written last: where it stands, all is done
    expected = [f"{index:03}.png" for index in range(100)]
    assert files(tmp_path / "out") == [*expected, *(f"overlay/{Path(name).stem}.jpg" for name in expected)]


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_run_in_order(model: Path, tmp_path: Path, number: signal.Signals) -> None:
    for index in range(400):
        face().rotate(index).save(_folder(tmp_path / "in") / f"{index:03}.png")
    process = start(model, tmp_path)
    wait_for(3, tmp_path / "out")
    process.send_signal(number)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    assert len(files(tmp_path / "out")) == report["done"] < 400


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once_and_in_order(model: Path, tmp_path: Path) -> None:
    for index in range(400):
        face().rotate(index).save(_folder(tmp_path / "in") / f"{index:03}.png")
    process = start(model, tmp_path, "--batch-size", "400")
    wait_for(1, tmp_path / "out")
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert "terminate" not in output
    assert not (tmp_path / "out/report.json").exists()  # one signal alone would have ended with it
    for path in (tmp_path / "out").glob("*.png"):
        with Image.open(path) as image:
            image.load()


def test_other_options_or_another_model_start_anew(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 2)

    def done(*options: str) -> int:
        assert parse(model, tmp_path / "in", tmp_path / "out", *options) == 0
        return json.loads((tmp_path / "out" / "report.json").read_text())["done"]

    assert [done(), done()] == [2, 0]
    assert "anew" not in capsys.readouterr().out
    assert [done("--tta", "flip"), done("--tta", "flip"), done()] == [2, 0, 2]
    told = capsys.readouterr().out
    assert "made with tta none; all of it is done anew" in told
    assert "made with tta flip; all of it is done anew" in told
    assert [done("--overlay"), done()] == [2, 0]  # what is missing is made; what is there already stands

    masks = [done("--parts", "face=skin", "--cutout", "hair"), done("--parts", "face=skin"), done()]
    assert masks == [2, 0, 0]  # whoever asks for fewer has what there is
    capsys.readouterr()
    assert done("--parts", "face=skin+nose", "--cutout", "hair") == 2
    assert "made with another parts/face; all of it is done anew" in capsys.readouterr().out
    assert [done("--cutout", "hat"), done("--cutout", "hat")] == [2, 0]
    assert "made with another cutout; all of it is done anew" in capsys.readouterr().out

    settings = tmp_path / "out" / ".predict.json"
    before = json.loads(settings.read_text())
    settings.write_text(json.dumps({**before, "model_sha256": "0", "fit": "pad"}))
    assert done() == 2
    assert "made with another model, fit pad; all of it is done anew" in capsys.readouterr().out


def test_full_disk_fails_the_pictures_and_leaves_no_pieces(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path / "in", 3)
    real = Path.write_bytes

    def write_some(path: Path, content: bytes) -> int:
        if path.parent == tmp_path / "out" and b"IHDR" in content:
            real(path, content[: len(content) // 2])
            raise OSError(28, os.strerror(28))
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write_some)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert files(tmp_path / "out") == []
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["failed"].values()) == {"not written: No space left on device"}


def test_picture_that_vanishes_meanwhile_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = write_faces(tmp_path / "in", 2)
    prepare = command.prepare_output

    def prepare_and_lose_one(folder: Path) -> None:
        prepare(folder)
        pictures[0].unlink()

    monkeypatch.setattr(command, "prepare_output", prepare_and_lose_one)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert files(tmp_path / "out") == ["face1.png"]


def test_very_long_and_undecodable_names(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = _folder(tmp_path / "in")
    face().save(folder / ("x" * 251 + ".png"))
    undecodable = Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png"))
    face().save(undecodable)
    undecodable.with_name(os.fsdecode(b"\xfd.png")).write_text("broken")
    assert parse(model, folder, tmp_path / "out") == 1
    assert len(files(tmp_path / "out")) == 2
    assert "\\xfd.png" in capsys.readouterr().out


def test_threads_that_fail_for_reasons_of_ours_are_not_hidden(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path / "in", 2)

    def broken(*arguments: object) -> None:
        raise KeyError("a mistake in the program")

    monkeypatch.setattr(Writer, "write", broken)
    with pytest.raises(KeyError, match="a mistake"):
        parse(model, tmp_path / "in", tmp_path / "out")
