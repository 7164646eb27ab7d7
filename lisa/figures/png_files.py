"""Figures as PNG files: written whole, and over no file but a picture."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from lisa.errors import InputError
from lisa.system.files import make_folders, write_whole

if TYPE_CHECKING:  # matplotlib takes a second: --help and a wrong argument need not wait for it
    from matplotlib.figure import Figure

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


def save_plot(figure: "Figure", path: Path, dpi: int = 120) -> None:
    """Writes a pyplot figure whole and closes it. Raises InputError if it can't be written."""
    from matplotlib import pyplot as plt

    stream = BytesIO()
    try:
        figure.savefig(stream, format="png", dpi=dpi)
    finally:
        plt.close(figure)  # pyplot keeps those that are open
    write_whole(path, stream.getvalue())
