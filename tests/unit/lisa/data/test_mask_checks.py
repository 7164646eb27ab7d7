"""Thin rims of foreign ids: masks that went through JPEG or a smooth resize."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from split_helpers import COLORS, Ids, drawn_masks, write

from lisa.data.checking import look_at
from lisa.data.mask_checks import RIMMED, rim_share

Resampling = Image.Resampling


@pytest.fixture(scope="module")
def faces() -> list[Ids]:
    return drawn_masks()


def through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def nearest_labels(image: Image.Image) -> Ids:
    distance = ((np.asarray(image).astype(np.int64)[:, :, None] - COLORS) ** 2).sum(-1)
    return distance.argmin(-1).astype(np.uint8)


SPOILT: dict[str, Callable[[Ids], Ids]] = {
    "jpeg 75": lambda ids: np.asarray(through_jpeg(Image.fromarray(ids), 75)).clip(0, 18),
    "jpeg 95": lambda ids: np.asarray(through_jpeg(Image.fromarray(ids), 95)).clip(0, 18),
    "bilinear": lambda ids: np.asarray(Image.fromarray(ids).resize((70, 70), Resampling.BILINEAR)),
    "bilinear, larger": lambda ids: np.asarray(Image.fromarray(ids).resize((192, 192), Resampling.BILINEAR)),
    "lanczos": lambda ids: np.asarray(Image.fromarray(ids).resize((70, 70), Resampling.LANCZOS)).clip(0, 18),
    "colours resized": lambda ids: nearest_labels(
        Image.fromarray(COLORS.astype(np.uint8)[ids]).resize((70, 70), Resampling.BILINEAR)
    ),
    "colours through jpeg": lambda ids: nearest_labels(
        through_jpeg(Image.fromarray(COLORS.astype(np.uint8)[ids]), 90)
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_rims_of_foreign_ids_are_seen(faces: list[Ids], kind: str, tmp_path: Path):
    shares = [rim_share(SPOILT[kind](ids)) for ids in faces]
    assert min(shares) > RIMMED
    (pair,) = write(tmp_path, [SPOILT[kind](faces[0])])
    fault = look_at(pair).fault
    assert fault is not None
    assert (fault.kind, fault.file) == ("rims", pair.mask)
    assert "nearest neighbour" in fault.detail


@pytest.mark.parametrize("side", [64, 96, 192])
def test_true_masks_have_few_rims_at_any_size(faces: list[Ids], side: int):
    shares = [
        rim_share(np.asarray(Image.fromarray(ids).resize((side, side), Resampling.NEAREST))) for ids in faces
    ]
    assert max(shares) < RIMMED


def test_rims_count_thin_runs_between_different_labels():
    ids = np.zeros((200, 100), np.uint8)
    assert rim_share(ids) == 0
    ids[:, 50:] = 13
    assert rim_share(ids) == 0
    ids[:, 50] = 6
    assert rim_share(ids) == pytest.approx(0.5)  # of two borders a row, one begins a rim
    ids[:, 50] = 255
    assert rim_share(ids) == 0, "ignored pixels are no rim"
