"""By which ids a folder is read when a network that was trained by others looks at it."""

from pathlib import Path

import pytest

from lisa.data.source import SplitSource


@pytest.mark.parametrize(("given", "trained", "root", "read_by", "note"), [
    ("", "", "faces", "", ""),
    ("lapa", "coarse", "faces", "lapa", ""),
    ("", "lapa", "faces", "lapa", "is read as in training: --encoding lapa"),
    ("", "lapa", "elsewhere/../faces", "lapa", "is read as in training: --encoding lapa"),
    ("", "lapa", "elsewhere", "", "trained with --data.encoding lapa: "),
])  # fmt: skip
def test_a_forgotten_encoding_is_told(
    given: str, trained: str, root: str, read_by: str, note: str, tmp_path: Path
):
    source, notes = SplitSource(tmp_path / "faces", given).as_trained(f"{tmp_path}/{root}", trained)
    assert source.encoding == read_by
    assert len(notes) == bool(note)
    assert note in "".join(notes)
