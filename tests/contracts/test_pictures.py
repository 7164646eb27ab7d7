"""Training and the predictor take the same files for pictures, and read the same pixels from each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.predictor import pictures
from deploy.predictor.errors import BadPictureError
from deploy.predictor.inputs import SUFFIXES
from deploy.predictor.pictures import read_picture
from lisa.data import heif
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


def test_phones_pictures_are_read_upright(tmp_path: Path):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:, :32] = 200  # the left half: the upper one, once a phone that was held upright is heeded
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "x.heic", format="HEIF", quality=95, exif=exif.tobytes())
    read = np.asarray(read_image(tmp_path / "x.heic"))
    assert np.array_equal(read, read_picture(tmp_path / "x.heic"))
    assert read.shape == (64, 48, 3)
    assert read[:28].min() > 180
    assert read[36:].max() < 20


def test_phones_pictures_without_their_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "x.heic").write_bytes(b"")
    assert heif.no_format(tmp_path / "x.heic").startswith("no picture format")
    monkeypatch.setattr(Image, "registered_extensions", dict)
    assert heif.no_format(tmp_path / "x.heic") == "HEIC needs pillow-heif: pip install pillow-heif"
    assert heif.no_format(tmp_path / "x.jpg").startswith("no picture format")
    monkeypatch.setattr(pictures, "READS_HEIF", False)
    with pytest.raises(BadPictureError, match="pip install pillow-heif"):
        read_picture(tmp_path / "x.heic")
