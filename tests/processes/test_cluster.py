"""The predictor on a Ray cluster: the same bytes as predict.py's, and errors of one line."""

import errno
import json
import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest
from deploy_helpers import files, parse, write_faces

from deploy.cluster import (
    Store,
    Worker,
    arguments,
    find_pictures,
    main,
    threads_per_actor,
)
from deploy.predictor.inputs import Job
from deploy.predictor.inputs import find_pictures as predictors_pictures
from deploy.predictor.model import read_metadata
from deploy.predictor.output_folder import sole_writer
from deploy.predictor.photo_options import settle_faces
from deploy.predictor.report import Report
from deploy.store import StoreWriter
from deploy.store_outputs import claim, done_before, join_pieces

pytestmark = pytest.mark.xdist_group("ray")

ROOT = Path(__file__).parents[2]
OPTIONS = ("--overlay", "--parts", "hair")


def options(model: Path, source: str | Path, output: str | Path) -> list[str]:
    return ["--model", str(model), "--input", str(source), "--output", str(output), "--device", "cpu"]


def processes_that_name(text: str) -> list[str]:
    """Command lines of running processes."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # ended meanwhile
            continue
    return [line for line in found if text in line]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_cluster_goes_on_where_the_standalone_stopped_with_the_same_bytes(
    model: Path, tmp_path: Path
) -> None:
    pictures = write_faces(tmp_path / "in" / "a", 5)
    write_faces(tmp_path / "in", 2, (30, 70))
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    undecodable = Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.jpg"))
    undecodable.write_bytes(pictures[0].read_bytes())
    assert parse(model, tmp_path / "in", tmp_path / "standalone", *OPTIONS) == 1
    assert parse(model, tmp_path / "in", tmp_path / "cluster", *OPTIONS) == 1
    for name in ("a/face1.png", "overlay/a/face2.jpg", "face0.png"):
        (tmp_path / "cluster" / name).unlink()
    (tmp_path / "cluster" / ".predict-tmp-killed").write_bytes(b"half")

    with tempfile.TemporaryDirectory(prefix="r") as folder:  # short: Ray's sockets lie in it
        command = [sys.executable, "-m", "deploy.cluster", *OPTIONS]
        command += options(model, tmp_path / "in", f"file://{tmp_path}/cluster")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**environment, "RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert processes_that_name(folder) == []
    report = json.loads((tmp_path / "cluster" / "report.json").read_text())
    assert (report["total"], report["done"], report["skipped"]) == (9, 3, 5)
    assert [Path(source).name for source in report["failed"]] == ["broken.jpg"]
    assert report["split"]["network"] > 0
    names = files(tmp_path / "standalone")
    assert len(names) == 24
    assert files(tmp_path / "cluster") == names
    for name in names:
        theirs, ours = ((tmp_path / folder / name).read_bytes() for folder in ("standalone", "cluster"))
        assert theirs == ours, name


@pytest.mark.parametrize("threads", [1, 3])
def test_an_actors_threads_share_one_network(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    write_faces(tmp_path / "in", 5)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    assert parse(model, tmp_path / "in", tmp_path / "expected", "--overlay") == 1
    monkeypatch.setattr("ray.get", lambda content: content)
    parsed = arguments([*options(model, tmp_path / "in", tmp_path / "out"), "--overlay"])
    settle_faces(parsed, read_metadata(model))
    worker = Worker(model.read_bytes(), parsed, "cpu", threads)
    assert len({id(stream.model) for stream in worker.streams}) == 1
    paths = sorted((tmp_path / "in").iterdir())
    columns = worker(
        {
            "source": [os.fsencode(path) for path in paths],
            "name": [os.fsencode(path.stem) for path in paths],
        }
    )
    reasons = dict(zip(map(os.fsdecode, columns["source"]), columns["reason"], strict=True))
    assert [Path(path).name for path, reason in reasons.items() if reason] == ["broken.jpg"]
    assert sorted(reasons) == [str(path) for path in paths]
    assert columns["network"].sum() > 0
    for name in files(tmp_path / "expected"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_both_predictors_find_the_same_pictures(tmp_path: Path) -> None:
    for name in ("in/a/x.jpg", "in/._y.jpg", "in/__MACOSX/y.jpg", "elsewhere/z.jpg", "in/out/overlay/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "in" / "album").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to("..")
    notes: list[str] = []
    source, target = Store("--input", str(tmp_path / "in")), Store("--output", str(tmp_path / "in" / "out"))
    found = find_pictures(source, target, notes.append)
    assert found == predictors_pictures(str(tmp_path / "in"), tmp_path / "in" / "out")
    assert [job.name for job in found] == ["a/x", "album/z"]
    assert len(notes) == 3


def test_a_gpu_has_its_share_of_the_cores() -> None:
    assert threads_per_actor(96, 8) == 12
    assert threads_per_actor(96, 1) == 32
    assert threads_per_actor(2, 4) == 1
    assert threads_per_actor(16, 0) == 1  # on CPUs there is an actor per core


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def test_what_cannot_start_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    cases = {
        (tmp_path / "nowhere", tmp_path / "out"): "no such folder",
        ("abacus://in", tmp_path / "out"): "Protocol not known: abacus",
        (tmp_path / "in", "abacus://out"): "--output abacus://out",
        (tmp_path / "in", tmp_path / "in"): "is the input folder",
        (tmp_path / "in", f"{tmp_path}/in/../in"): "is the input folder",
        (tmp_path / "in", tmp_path / "link"): "is the input folder",
        (tmp_path / "in", tmp_path / "file" / "out"): "Not a directory",
    }
    for (source, output), reason in cases.items():
        assert reason in refused(capsys, options(model, source, output))
    assert "damaged" in refused(capsys, options(tmp_path / "file", tmp_path / "in", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_cluster_that_does_not_answer_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    error = refused(capsys, options(model, tmp_path / "in", tmp_path / "out"))
    assert "RAY_ADDRESS 127.0.0.1:1: " in error
    assert "refused" in error
    assert not (tmp_path / "out").exists()


def test_a_temporary_folder_too_long_for_sockets_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1)
    (tmp_path / (60 * "x")).mkdir()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / (60 * "x")))
    error = refused(capsys, options(model, tmp_path / "in", tmp_path / "out"))
    assert "Ray on this machine: " in error
    assert "set RAY_TMPDIR to a shorter folder" in error
    assert not (tmp_path / "out").exists()


def test_other_options_are_refused_and_nothing_to_do_needs_no_cluster(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 2)
    assert parse(model, tmp_path / "in", tmp_path / "in" / "out") == 0
    command = options(model, tmp_path / "in", tmp_path / "in" / "out")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main(command) == 0
    assert "0 done, 2 done before, 0 failed" in capsys.readouterr().out
    assert "begun with another model or other options" in refused(capsys, [*command, "--tta", "flip"])


def test_maps_that_the_predictor_left_of_other_settings_are_not_done(tmp_path: Path) -> None:
    """predict.py notes new settings at once, and makes the old maps anew one after another."""
    store = Store("--output", str(tmp_path / "out"))
    settings = {"model_sha256": "b"}
    store.write("old.png", b"map")
    claim(store, settings, [])
    before = (tmp_path / "out/.predict.json").stat().st_mtime - 10
    os.utime(tmp_path / "out/old.png", (before, before))
    store.write("new.png", b"map")
    done = done_before(store, settings, [["old.png"], ["new.png"]], overwrite=False)
    assert done == {".predict.json", "new.png"}


def test_one_program_writes_into_a_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would take the other's files in writing for those of a killed run."""
    write_faces(tmp_path / "in", 1)
    command = options(model, tmp_path / "in", tmp_path / "out")
    with sole_writer(tmp_path / "out"):
        assert "another predictor writes there" in refused(capsys, command)


def test_faces_of_pictures_that_are_not_done_are_left_out(model: Path, tmp_path: Path) -> None:
    target = Store("--output", str(tmp_path))
    asked = arguments([*options(model, "in", tmp_path), "--faces", "find"])
    asked.finds = "find"
    writer = StoreWriter(read_metadata(model), asked, target)
    for name in ("faces/a.json", "faces/b.json"):
        target.write(name, b"{}")
    target.write("a.png", b"map")
    report = Report()
    join_pieces(target, writer, [Job(Path(name), name) for name in "ab"], report)
    assert json.loads((tmp_path / "faces.json").read_text()) == [{}]
    assert report.failed == {}


@pytest.mark.parametrize("done", [0, 1])
def test_a_report_that_cannot_be_written_leaves_no_former_one(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """It would be taken for this run's."""
    write_faces(tmp_path / "in", 1)
    assert parse(model, tmp_path / "in", tmp_path / "out", "--gallery") == 0
    write_faces(tmp_path / "in", 2 - done)
    write = Store.write

    def full(store: Store, name: str, content: bytes) -> None:
        if name == "report.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(store, name, content)

    monkeypatch.setattr(Store, "write", full)
    monkeypatch.setattr("deploy.cluster.ray_cluster", nullcontext)
    monkeypatch.setattr("deploy.cluster._drive", lambda *arguments: None)
    assert main(options(model, tmp_path / "in", tmp_path / "out")) == 1
    assert not (tmp_path / "out/report.json").exists()
    assert (tmp_path / "out/gallery.html").exists()  # not this run's to write
