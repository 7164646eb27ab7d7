"""What a video leaves in its folder, beside what was there: other videos, former settings, reports."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from deploy_helpers import parse
from scene_helpers import write_painted_model
from video_helpers import film

from deploy.predictor.errors import CannotStartError
from deploy.predictor.video import run
from deploy.predictor.video.tracking import Tracker

pytest.importorskip("av")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_painted_model(tmp_path_factory.mktemp("painted") / "painted.ts")


@pytest.mark.slow
def test_a_video_that_cannot_start_changes_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: object) -> None:
        raise CannotStartError("the finder: can't be loaded")

    source = film(tmp_path / "clip.mkv", frames=2, sound=False)
    assert parse(model, source, tmp_path / "out") == 0
    with monkeypatch.context() as patch:
        patch.setattr("deploy.predictor.video.run.open_photos", broken)
        assert parse(model, source, tmp_path / "out", "--overwrite") == 2
        assert parse(model, source, tmp_path / "new") == 2
    assert not (tmp_path / "new").exists()
    assert parse(model, source, tmp_path / "out") == 0
    assert "0 done, 1 done before" in capsys.readouterr().out


def test_another_video_of_the_same_name_is_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        film(tmp_path / folder / "clip.mkv", frames=2, sound=False)
    assert parse(model, tmp_path / "one" / "clip.mkv", tmp_path / "out", "--faces", "frame") == 0
    assert parse(model, tmp_path / "two" / "clip.mkv", tmp_path / "out", "--faces", "frame") == 2
    assert f"clip.ids.mkv is of {tmp_path / 'one' / 'clip.mkv'}" in capsys.readouterr().err
    assert (
        parse(model, tmp_path / "two" / "clip.mkv", tmp_path / "out", "--overwrite", "--faces", "frame") == 0
    )


def test_an_interrupted_video_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.predictor.video.tracking.Tracker.parse", interrupted)
    assert parse(model, film(tmp_path / "clip.mkv", frames=2, sound=False), tmp_path / "out") == 130
    left = [".predict-clip.json", ".predict.json", "report.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == left


@pytest.mark.slow
def test_what_former_settings_left_of_a_video_is_named(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "clip.mkv", frames=2, sound=False)
    assert parse(model, source, tmp_path / "out", "--overlay", "--faces", "find") == 0
    for options, expected in (
        (("--faces", "find"), ""),  # still of these settings
        (("--faces", "auto"), "not asked for now: clip.overlay.mp4\n"),
        (("--faces", "frame", "--overlay"), "not asked for now: clip.faces.json\n"),
    ):
        capsys.readouterr()
        assert parse(model, source, tmp_path / "out", *options) == 0
        told = capsys.readouterr().out
        assert ("not asked for now" in told) == bool(expected), options
        assert expected in told


def test_a_folder_holds_the_maps_of_many_videos(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [film(tmp_path / name, frames=2, sound=False) for name in ("a.mkv", "b.mkv")]
    for expected in ("2 done, 0 done before", "0 done, 1 done before"):
        for each in films:
            assert parse(model, each, tmp_path / "out", "--faces", "frame") == 0
            shown = capsys.readouterr().out
            assert expected in shown
            assert "anew" not in shown
    (tmp_path / "other").mkdir()
    again = film(tmp_path / "other/a.mkv", frames=2, sound=False)
    assert parse(model, again, tmp_path / "out", "--faces", "frame") == 2
    assert f"a.ids.mkv is of {films[0].resolve()}: choose another --output" in capsys.readouterr().err


def test_a_video_of_any_name_is_done_once(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its note's name begins as temporary files' do."""
    source = film(tmp_path / "tmp-1.mkv", frames=2, sound=False)
    for expected in ("2 done, 0 done before", "0 done, 1 done before"):
        assert parse(model, source, tmp_path / "out") == 0
        assert expected in capsys.readouterr().out


@pytest.mark.slow
def test_a_video_that_is_replaced_while_it_is_parsed_is_not_done(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, parsed = film(tmp_path / "clip.mkv", frames=2, sound=False), Tracker.parse

    def replaced(*arguments: Any) -> Any:
        source.touch()
        return parsed(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "parse", replaced)
        assert parse(model, source, tmp_path / "out") == 1
    assert "was replaced while it was parsed" in capsys.readouterr().out
    assert parse(model, source, tmp_path / "out") == 0
    assert "2 done, 0 done before" in capsys.readouterr().out


def test_a_report_of_another_video_does_not_stay(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (film(tmp_path / f"{name}.mkv", frames=2, sound=False) for name in ("one", "two"))
    report = tmp_path / "out/report.json"
    for source, done in ((one, 2), (two, 2), (one, 0)):
        assert parse(model, source, tmp_path / "out", "--faces", "frame") == 0
        content = json.loads(report.read_text())
        assert (content["settings"]["video"], content["done"]) == (str(source), done)
    write = run.write_whole

    def full(path: Path, content: bytes) -> None:
        if path.name == "report.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(run, "write_whole", full)
    for options in ((), ("--overwrite",)):
        report.write_text("of another video")
        assert parse(model, two, tmp_path / "out", "--faces", "frame", *options) == 1
        assert not report.exists()


def test_a_full_disk_is_a_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "clip.mkv", frames=2, sound=False)
    full = OSError(errno.ENOSPC, "No space left on device")

    def write(path: Path, content: bytes) -> None:
        if path.name in ("report.json", ".predict.json"):
            raise full

    monkeypatch.setattr("deploy.predictor.video.run.write_whole", write)
    assert parse(model, source, tmp_path / "out") == 2
    assert f"--output {tmp_path}/out: No space left on device" in capsys.readouterr().err
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/.predict.json").write_text("{}")
    assert parse(model, source, tmp_path / "out") == 1
    assert "report.json: not written: No space left on device" in capsys.readouterr().out
