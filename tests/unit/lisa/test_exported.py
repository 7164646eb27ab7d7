"""Exported files told from others."""

import json
import zipfile
from pathlib import Path

from lisa.exported import METADATA_FILE, TORCHSCRIPT, read_exported


def test_a_damaged_file_is_none_that_deploy_export_wrote(tmp_path: Path):
    path, note = tmp_path / "x.ts", json.dumps({"labels": ["a"] * 99})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"x/extra/{METADATA_FILE}", note)
    found = read_exported(path)
    assert found is not None
    assert (found.kind, found.metadata) == (TORCHSCRIPT, json.loads(note))
    content = bytearray(path.read_bytes())
    start = content.index(METADATA_FILE.encode()) + len(METADATA_FILE)
    content[start] = 0xFF  # no kind of block that deflate has
    path.write_bytes(content)
    assert read_exported(path) is None
