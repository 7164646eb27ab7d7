"""Files are whole or absent; text is read in the encoding that it was written in, or refused in one line."""

import codecs
import os
import platform
import time
from pathlib import Path

import pytest

from lisa.config.command_line import parse_training
from lisa.data.file_lists import read_file_list
from lisa.errors import InputError
from lisa.system.files import (
    is_stream,
    make_folders,
    read_object,
    read_text,
    whole_file,
    write_whole,
)

TEXT = "images/é.jpg\nmasks/名.png\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_read_by_its_byte_order_mark(encoding: str, tmp_path: Path):
    (tmp_path / "list").write_bytes(TEXT.encode(encoding))
    assert read_text(tmp_path / "list", "--list") == TEXT
    assert read_text(tmp_path / "list", "--list", "surrogateescape") == TEXT


def test_big_endian_text_is_read(tmp_path: Path):
    (tmp_path / "list").write_bytes(codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"))
    assert read_text(tmp_path / "list", "--list") == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\né".encode("latin-1"), "list: line 2 is not UTF-8: save the file as UTF-8"),
        ("a\n".encode("utf-16-le"), "UTF-16 without a byte order mark: save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"a", "list: line 1 is not UTF-16: save the file as UTF-8"),
    ],
)
def test_other_encodings_are_refused(content: bytes, message: str, tmp_path: Path):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_text(tmp_path / "list", "--list")
    with pytest.raises(InputError, match=message):
        parse_training(["--config", str(tmp_path / "list")])


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"can't read --list .*/gone: No such file"):
        read_text(tmp_path / "gone", "--list")
    with pytest.raises(InputError, match=r"can't read .*: Is a directory"):
        read_text(tmp_path, "--list")


def test_config_files_may_be_utf_16(tmp_path: Path):
    (tmp_path / "c.json").write_text('{"output": "läufe"}', encoding="utf-16")
    assert parse_training(["--config", str(tmp_path / "c.json")]).config.output == "läufe"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_exclusion_lists_in_any_encoding(encoding: str, tmp_path: Path):
    (tmp_path / "é.jpg").touch()
    (tmp_path / "list").write_bytes("# a comment\r\né.jpg\r\n".encode(encoding))
    assert read_file_list(tmp_path / "list", tmp_path, "data.exclude") == {tmp_path / "é.jpg"}


def test_a_latin_1_exclusion_list_names_a_file_in_utf_8_or_raw_bytes(tmp_path: Path):
    (tmp_path / "list").write_bytes("é.jpg\n".encode("latin-1"))
    (tmp_path / "é.jpg").touch()
    assert read_file_list(tmp_path / "list", tmp_path, "data.exclude") == {tmp_path / "é.jpg"}
    raw = tmp_path / "\udce9.jpg"  # the byte itself, as Python names it
    raw.touch()
    assert read_file_list(tmp_path / "list", tmp_path, "data.exclude") == {raw}


def test_a_file_is_whole_or_as_it_was(tmp_path: Path):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def fail_halfway() -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"can't write .*/gone/file: No such file"):
        write_whole(tmp_path / "gone/file", b"")


def test_links_stay_links_and_devices_devices(tmp_path: Path):
    """As root, /dev/null could become a file of every later program."""
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(tmp_path / "pipe", b"told")
        assert os.read(reader, 10) == b"told"
        with pytest.raises(OSError, match="a device or a pipe"), whole_file(tmp_path / "pipe"):
            pass
    finally:
        os.close(reader)
    assert is_stream(tmp_path / "pipe")
    assert is_stream(Path("/dev/null"))
    assert is_stream(Path("/dev/stdout"))
    assert not is_stream(tmp_path / "real")
    assert not is_stream(tmp_path)
    assert not is_stream(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"3"])
def test_what_is_no_object_is_an_empty_one(tmp_path: Path, content: bytes):
    (tmp_path / "file").write_bytes(content)
    assert read_object(tmp_path / "file") == read_object(tmp_path / "none") == {}


def test_what_killed_processes_left_is_cleared(tmp_path: Path):
    """Of this host at once, of others after a day, and nothing that a living process writes."""
    for number in (2**30, 2**70):
        (tmp_path / f".last.pt.{platform.node()}.{number}.part").touch()
    (tmp_path / ".others.part").touch()
    old = tmp_path / ".last.pt.node-2.example.7.part"
    old.touch()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    (tmp_path / ".last.pt.node-3.7.part").touch()
    with whole_file(tmp_path / "best.pt") as own:
        own.touch()
        make_folders([tmp_path])
        assert {path.name for path in tmp_path.iterdir()} == {
            own.name,
            ".others.part",
            ".last.pt.node-3.7.part",
        }
