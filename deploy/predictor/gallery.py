"""The gallery: one page, without a network, to look through all pictures and their label maps."""

import base64
import html
import json
import zlib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from .files import whole_file
from .pictures import Pixels, encode_picture

GALLERY = "gallery"
"""Folder of the pages' pieces, one per picture, and the stem of the page that they make."""

THUMBNAIL = 256
"""Longest side in the gallery, pixels."""

LINK = '<link rel="stylesheet" href="gallery.css">'
SCRIPT = """<script src="gallery.js" data-about='{"total": 0, "labels": [], "palette": []}'></script>"""
"""How gallery.html finds its style and its script when it is opened on its own."""

POLICY = """\
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">"""


def gallery_piece(
    name: str,
    picture: Pixels,
    labels: Pixels,
    classes: int,
    frames: Sequence[list[list[float]]] = (),
) -> bytes:
    """A picture's row in the gallery: thumbnail, label map and area per class, as one HTML element.

    ``frames`` are the corners of the faces' frames, in the picture's pixels: they are drawn into the
    thumbnail.

    The page reads the attribute at once and the content, base64 of WebP and of zlib's ids, when the picture
    comes into view.
    """
    thumbnail = Image.fromarray(picture)
    thumbnail.thumbnail((THUMBNAIL, THUMBNAIL))
    size = thumbnail.size
    for frame in frames:
        line = [(x * size[0] / picture.shape[1], y * size[1] / picture.shape[0]) for x, y in frame]
        ImageDraw.Draw(thumbnail).line([*line, line[0]], fill=(255, 255, 0), width=2)
    ids = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
    areas = np.bincount(labels.ravel(), minlength=classes) / labels.size
    row = {
        "name": name,
        "size": [labels.shape[1], labels.shape[0]],
        "thumbnail": size,
        "areas": [round(float(area), 5) for area in areas],
    }
    contents = (
        encode_picture(thumbnail, format="WEBP", quality=65, method=2),
        zlib.compress(ids.tobytes(), 9),
    )
    encoded = b" ".join(base64.b64encode(content) for content in contents)
    about = html.escape(json.dumps(row)).encode()
    return b'<script type="text/plain" data-row="%b">%b</script>\n' % (about, encoded)


def write_gallery(
    path: Path, pieces: Iterable[Path], total: int, labels: list[str], palette: list[int]
) -> None:
    """One page out of the pieces, one at a time. Raises OSError."""
    head, tail = _page({"total": total, "labels": labels, "palette": palette}).split("<!-- rows -->\n")
    with whole_file(path) as temporary, temporary.open("wb") as stream:
        stream.write(head.encode())
        for piece in pieces:
            stream.write(piece.read_bytes())
        stream.write(tail.encode())


def _page(about: dict[str, Any]) -> str:
    """gallery.html with its style, its script and the run's facts inside. It loads nothing from elsewhere."""
    files = resources.files(str(__package__))
    page, css, js = ((files / f"gallery.{suffix}").read_text("utf-8") for suffix in ("html", "css", "js"))
    page = page.replace(LINK, f"{POLICY}\n<style>\n{css}</style>")
    return page.replace(SCRIPT, f'<script data-about="{html.escape(json.dumps(about))}">\n{js}</script>')
