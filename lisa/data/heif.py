"""HEIC, as phones write it: Pillow reads it where pillow-heif is installed (the extra ``heic``)."""

from functools import cache
from pathlib import Path

from PIL import Image

SUFFIXES = (".heic", ".heif")


@cache
def register() -> None:
    """Teaches Pillow the format, if it can be; once in a process."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        return
    register_heif_opener()


def no_format(path: Path) -> str:
    """Why Pillow knows no format for this file, and what to do about it."""
    if path.suffix.lower() in SUFFIXES and path.suffix.lower() not in Image.registered_extensions():
        return "HEIC needs pillow-heif: pip install pillow-heif"
    return "no picture format that Pillow reads here"
