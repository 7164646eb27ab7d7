"""Figures as PNG files: written whole, and over no file but a picture."""

from io import BytesIO
from pathlib import Path

from PIL import Image

from lisa.errors import InputError
from lisa.files import make_folders, write_whole

PNG = b"\x89PNG\r\n\x1a\n"
"""How such a file begins."""


def require_figure(output: Path) -> None:
    """Raises InputError for a file that is no PNG: a checkpoint, say, whose weights would be lost."""
    if not output.is_file():
        return
    with output.open("rb") as file:
        start = file.read(len(PNG))
    if start not in (b"", PNG):
        raise InputError(f"--output {output}: is there, and no PNG; name the PNG file to write")


def save_png(picture: Image.Image, path: Path) -> None:
    """Writes the file whole, its folder too. Raises InputError if it can't be written."""
    stream = BytesIO()
    picture.save(stream, format="PNG")
    make_folders([path.parent])
    write_whole(path, stream.getvalue())
