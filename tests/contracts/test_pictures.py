"""Training and the predictor take the same files for pictures, and read the same pixels from each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.predictor.inputs import SUFFIXES
from deploy.predictor.pictures import read_picture
from lisa.data.pairs import IMAGE_SUFFIXES, read_image
from lisa.data.synthetic import draw_face

MODES = {
    ".jpg": ("L", "RGB", "CMYK"),
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    ".webp": ("RGB", "RGBA"),
    ".bmp": ("1", "L", "P", "RGB"),
    ".tif": ("1", "L", "RGB", "RGBA", "CMYK", "I;16"),
    ".gif": ("L", "P"),
    ".avif": ("RGB",),
    ".jp2": ("L", "RGB"),
    ".ppm": ("RGB",),
    ".pgm": ("L",),
    ".tga": ("L", "RGB", "RGBA"),
}


def test_the_same_files_are_pictures():
    assert set(IMAGE_SUFFIXES) == set(SUFFIXES)


@pytest.mark.parametrize("suffix", MODES)
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_same_pixels_are_read(tmp_path: Path, suffix: str, orientation: int):
    face = Image.fromarray(draw_face(0, 64)[0][:, :48])
    for mode in MODES[suffix]:
        exif = Image.Exif()  # saving an AVIF empties it
        exif[0x0112] = orientation
        path = tmp_path / f"{mode.replace(';', '')}{suffix}"
        grey = np.asarray(face.convert("L")).astype(np.uint16) * 257
        stored = Image.fromarray(grey) if mode == "I;16" else face.convert(mode)
        stored.save(path, exif=exif)
        with Image.open(path) as kept:
            turned = kept.getexif().get(0x0112, 1) == 6
        read = np.asarray(read_image(path))
        assert np.array_equal(read, read_picture(path))
        stored.save(path)  # without the orientation: what read_image must turn
        expected = np.rot90(np.asarray(read_image(path)), -1) if turned else np.asarray(read_image(path))
        assert np.array_equal(read, expected)
        assert read.std() > 20
        assert turned == (orientation == 6 and suffix in (".jpg", ".png", ".webp", ".tif", ".avif"))


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path):
    frames = [Image.fromarray(draw_face(seed, 64)[0]) for seed in range(2)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(read_image(tmp_path / "x.gif")), read_picture(tmp_path / "x.gif"))
