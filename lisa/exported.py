"""What deploy.export writes, told from other files. Nothing of it is run."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

METADATA_FILE = "lisa.json"

TORCHSCRIPT, PT2, ONNX = "TorchScript", ".pt2", "ONNX"


class Exported(NamedTuple):
    """An exported file."""

    kind: str
    """TORCHSCRIPT, PT2 or ONNX."""
    metadata: Any = None
    """What it says of itself; None for ONNX, which is known by its name alone."""


def read_exported(path: Path) -> Exported | None:
    """What the file is; None for one that deploy.export did not write, or damaged. Raises OSError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            found = [name for name in names if name.endswith(f"/extra/{METADATA_FILE}")]
            if not found:
                return None
            kind = PT2 if any(name.endswith("/archive_format") for name in names) else TORCHSCRIPT
            return Exported(kind, json.loads(archive.read(found[0])))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error):
        return Exported(ONNX) if path.suffix.lower() == ".onnx" else None
