"""What --input finds, and what it leaves alone."""

import os
from pathlib import Path

import pytest
from deploy_helpers import face, files, parse, write_faces

from deploy.predictor.errors import CannotStartError
from deploy.predictor.inputs import find_pictures


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(source: Path | str, output: Path) -> tuple[list[str], list[str]]:
    """Names of the pictures, and what was said."""
    notes: list[str] = []
    jobs = find_pictures(str(source), output, notes.append)
    return [job.name for job in jobs], notes


def link(path: Path, target: Path | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target, target_is_directory=True)


def test_linked_folders_are_followed_once_and_said(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/deep/x.jpg", "in/real/y.jpg")
    link(tmp_path / "in" / "album", tmp_path / "elsewhere")
    link(tmp_path / "in" / "second", tmp_path / "elsewhere")
    link(tmp_path / "in" / "again", "real")  # before its target in the alphabet
    names, notes = found(tmp_path / "in", tmp_path / "out")
    assert names == ["album/deep/x", "real/y"]
    assert notes == [
        "linked folders followed: 1 (album)",
        "linked folders not followed, being visited already or endless: 2 (again, second)",
    ]


def test_only_links_in_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/x.jpg")
    link(tmp_path / "in" / "album", tmp_path / "elsewhere")
    assert found(tmp_path / "in", tmp_path / "out")[0] == ["album/x"]


@pytest.mark.parametrize("target", [".", "..", "/", "../in/b", "self"])
def test_loops_end(tmp_path: Path, target: str) -> None:
    touch(tmp_path, "in/a/x.jpg", "in/b/y.jpg", "beside.jpg")
    link(tmp_path / "in" / "self", target)
    assert found(tmp_path / "in", tmp_path / "out")[0] == ["a/x", "b/y"]


def test_links_that_lead_to_one_another_end(tmp_path: Path) -> None:
    touch(tmp_path, "one/x.jpg", "two/y.jpg")
    link(tmp_path / "one" / "next", tmp_path / "two")
    link(tmp_path / "two" / "next", tmp_path / "one")
    link(tmp_path / "in" / "start", tmp_path / "one")
    assert found(tmp_path / "in", tmp_path / "out")[0] == ["start/next/y", "start/x"]


def test_the_output_is_not_entered_through_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "in/x.jpg", "out/overlay/x.jpg")
    link(tmp_path / "in" / "parsed", tmp_path / "out")
    assert found(tmp_path / "in", tmp_path / "out")[0] == ["x"]


def test_patterns_follow_links_once(tmp_path: Path) -> None:
    """Python's own glob goes through two loops 2 to the power of 40 times."""
    touch(tmp_path, "in/a/x.jpg", "in/a/x.png", "elsewhere/y.jpg")
    for name, target in (("one", ".."), ("two", ".."), ("album", tmp_path / "elsewhere")):
        link(tmp_path / "in" / "a" / name, target)
    assert found(f"{tmp_path}/in/**/*.jpg", tmp_path / "out")[0] == ["album/y", "x"]
    assert found(f"{tmp_path}/in/a/*/**/?.jpg", tmp_path / "out")[0] == ["y"]
    assert found(f"{tmp_path}/in/**", tmp_path / "out")[0] == ["album/y", "x.jpg", "x.png"]


DROPPINGS = (
    *("._x.jpg", ".trashed-1699999999-x.jpg", "__MACOSX/._x.jpg", "__MACOSX/x.jpg", "@eaDir/x.jpg/SMALL.jpg"),
    *(
        "$RECYCLE.BIN/x.jpg",
        ".Trash-1000/files/x.jpg",
        ".ipynb_checkpoints/x-checkpoint.jpg",
        "#recycle/x.jpg",
    ),
)


def test_what_systems_leave_among_pictures_is_left_alone(model: Path, tmp_path: Path) -> None:
    face().save(tmp_path / "x.jpg")
    touch(tmp_path / "in", *DROPPINGS, "Thumbs.db", ".DS_Store", "desktop.ini")
    (tmp_path / "x.jpg").rename(tmp_path / "in" / "x.jpg")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["x.png"]
    names, notes = found(tmp_path / "in", tmp_path / "out")
    assert names == ["x"]
    assert len(notes) == 1
    assert notes[0].startswith("left alone, being hidden or a system's own: 8 (")
    assert found(f"{tmp_path}/in/**/*.jpg", tmp_path / "out")[0] == ["x"]


def test_what_is_named_is_not_left_alone(tmp_path: Path) -> None:
    touch(tmp_path, ".hidden/x.jpg", ".hidden/._y.jpg", "a/.hidden/x.jpg")
    assert found(tmp_path / ".hidden", tmp_path / "out")[0] == ["x"]
    assert found(tmp_path / ".hidden" / "._y.jpg", tmp_path / "out")[0] == ["._y"]
    assert found(f"{tmp_path}/**/.hidden/x.jpg", tmp_path / "out")[0] == [".hidden/x", "a/.hidden/x"]


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_never_ends_is_named_and_the_rest_is_done(
    model: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    write_faces(tmp_path / "in", 1)
    odd = tmp_path / "in" / "odd.jpg"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        before = Path.cwd()
        os.chdir(tmp_path / "in")  # the address may have 107 characters
        socket.socket(socket.AF_UNIX).bind("odd.jpg")
        os.chdir(before)
    else:
        odd.symlink_to("/dev/zero")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 1
    assert "odd.jpg: no file but a pipe, a socket or a device" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["face0.png"]


def test_model_that_is_a_pipe_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_faces(tmp_path / "in", 1)
    os.mkfifo(tmp_path / "lisa.ts")
    assert parse(tmp_path / "lisa.ts", tmp_path / "in", tmp_path / "out") == 2
    assert "is a pipe" in capsys.readouterr().err


def test_outputs_of_earlier_runs_are_no_photographs(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/x.jpg", "in/parsed/.predict.json", "in/parsed/x.png", "in/parsed/overlay/x.jpg")
    names, notes = found(tmp_path / "in", tmp_path / "elsewhere")
    assert names == ["a/x"]
    assert notes == ["left alone, being the outputs of earlier runs: 1 (parsed)"]
    for pattern in ("**/*.jpg", "*/*.jpg"):
        assert found(f"{tmp_path}/in/{pattern}", tmp_path / "elsewhere")[0] == ["x"]
    with pytest.raises(CannotStartError, match="no pictures there"):
        found(f"{tmp_path}/in/*/overlay/*.jpg", tmp_path / "elsewhere")
    assert found(tmp_path / "in" / "parsed", tmp_path / "elsewhere")[0] == ["overlay/x", "x"]  # as named


def test_a_list_ends_its_lines_as_editors_do(tmp_path: Path) -> None:
    """Not at every mark that Python takes for an end of line: it may be in a name."""
    (tmp_path / "list.txt").write_bytes("a\u2028b.jpg\r\nc\x85.jpg\rd.jpg\n".encode())
    jobs = find_pictures(str(tmp_path / "list.txt"), tmp_path / "out")
    assert [job.name for job in jobs] == ["a\u2028b", "c\x85", "d"]


def test_a_list_with_nul_bytes_is_one_line(tmp_path: Path) -> None:
    """As find -print0 writes it."""
    touch(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "list.txt").write_bytes(b"a.jpg\0b.jpg\0")
    with pytest.raises(CannotStartError, match=r"list\.txt: NUL bytes in it: one path per line"):
        found(tmp_path / "list.txt", tmp_path / "out")


def test_a_picture_that_is_listed_in_several_ways_is_one(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "in/a.jpg", "elsewhere/b.jpg", "elsewhere/deep/c.jpg")
    link(tmp_path / "in" / "album", tmp_path / "elsewhere" / "deep")
    lines = ["in/a.jpg", "b.jpg", f"{tmp_path}/in/a.jpg", "in/../b.jpg", "./b.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert found(tmp_path / "list.txt", tmp_path / "out")[0] == ["in/a", "b"]
    (tmp_path / "list.txt").write_text("in/b.jpg\nin/album/../b.jpg")  # two files of one output: refused
    assert len(found(tmp_path / "list.txt", tmp_path / "out")[0]) == 2


def test_maps_that_a_run_left_among_its_pictures_are_none(model: Path, tmp_path: Path) -> None:
    """--input photos/face0.jpg --output photos, and later the whole folder."""
    photos = tmp_path / "photos"
    (picture, _) = write_faces(photos, 2)
    face().save(photos / "own.png")
    assert parse(model, picture, photos) == 0
    names, notes = found(photos, tmp_path / "out")
    assert names == ["face0", "face1", "own"]
    assert notes == ["left alone, being the outputs of earlier runs: 1 (face0.png)"]
    names, _ = found(f"{photos}/**/*.*g", tmp_path / "out")
    assert names == ["face0", "face1", "own"]
    for name in ("pipe.png", "pipe.jpg"):
        os.mkfifo(photos / name)
    names, _ = found(photos, tmp_path / "out")  # without opening them, which would wait for ever
    assert names == ["face0", "face1", "own", "pipe.jpg", "pipe.png"]
