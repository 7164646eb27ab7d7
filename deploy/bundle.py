"""The predictor as one file: alone, or inside a model.

    python -m deploy.bundle --output predict.pyz
    python predict.pyz --model lisa.ts --input photos --output parsed

``deploy.export`` puts the predictor into the models that it writes. The program alone serves older ones.
Python runs a zip that holds a ``__main__.py``, and a TorchScript file is a zip.
"""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import tyro

from lisa.errors import one_line_errors
from lisa.system.files import write_whole

PACKAGE = Path(__file__).parent / "predictor"

SUFFIXES = (".py", ".html", ".css", ".js")

MAIN = '''"""Parses faces: python FILE --help"""

import runpy

runpy.run_module("predictor", run_name="__main__")
'''


@dataclass(frozen=True)
class Settings:
    """Writes the predictor as one file, without a model."""

    output: Path
    """The file to write, say predict.pyz."""


def append_predictor(file: IO[bytes]) -> None:
    """Adds the predictor to a zip, or to an empty file. The same sources give the same bytes."""
    contents = {"__main__.py": MAIN.encode()}
    for path in sorted(PACKAGE.rglob("*")):
        if path.suffix in SUFFIXES:
            contents[path.relative_to(PACKAGE.parent).as_posix()] = path.read_bytes()
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name)  # dated 1980, whenever this is
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix: on every system the same bytes
            archive.writestr(entry, content)


def main() -> None:
    """Entry point."""
    settings = tyro.cli(Settings)
    with one_line_errors():
        content = io.BytesIO()
        append_predictor(content)
        write_whole(settings.output, content.getvalue())
    print(f"wrote {settings.output}: python {settings.output} --model lisa.ts --input photos --output parsed")


if __name__ == "__main__":
    main()
