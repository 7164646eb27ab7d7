"""Parts of a figure: coloured label maps, overlays, error pictures, and sheets of them with a legend."""

from collections.abc import Sequence
from functools import cache
from math import ceil
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lisa.labels import IGNORE_INDEX, LabelSet

GAP = 4
BLOCK_GAP = 24
HEADER = 30
CAPTION = 18
LEGEND_ROW = 24
LEGEND_CELL = 112
LEGEND_TEXT_AT = 22
HEADER_TEXT, CAPTION_TEXT, LEGEND_TEXT, SMALLEST_TEXT = 17, 13, 14, 5
"""All in pixels."""

ERROR_COLOR = (255, 32, 32)
IGNORED_COLOR = (128, 128, 128)


@cache
def _colors(labels: LabelSet) -> np.ndarray:
    """(256,3) uint8: a colour for each value of a mask."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(labels)] = [label.color for label in labels.labels]
    colors[IGNORE_INDEX] = IGNORED_COLOR
    return colors


class Row(NamedTuple):
    """One row of a sheet: its panels from left to right, under a caption if there is one."""

    panels: Sequence[Image.Image]
    caption: str = ""


def colored(mask: np.ndarray, labels: LabelSet) -> np.ndarray:
    """Gives each id of (H,W) uint8 its colour, (H,W,3) uint8; ignored pixels are grey."""
    return _colors(labels)[mask]


def overlay(image: np.ndarray, mask: np.ndarray, labels: LabelSet, alpha: float = 0.5) -> np.ndarray:
    """Blends the labels' colours over the picture, (H,W,3) uint8; background stays as it is.

    ``mask`` holds ids (H,W) uint8.
    """
    blended = image * (1 - alpha) + colored(mask, labels) * alpha
    return np.where((mask == 0)[..., None], image, blended.round()).astype(np.uint8)


def errors(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Shows the picture in grey with wrong pixels in red; ignored ones are flat grey: (H,W,3) uint8."""
    shown = np.repeat(image.mean(2, keepdims=True) * 0.7, 3, axis=2)
    wrong = prediction != truth
    shown[wrong] = 0.3 * shown[wrong] + 0.7 * np.array(ERROR_COLOR)
    shown[truth == IGNORE_INDEX] = IGNORED_COLOR
    return shown.astype(np.uint8)


def photo_panel(image: np.ndarray, side: int) -> Image.Image:
    """Resizes a picture (H,W,3) uint8 to fit a square of ``side`` pixels; its aspect stays."""
    return ImageOps.contain(Image.fromarray(image), (side, side), Image.Resampling.LANCZOS)


def flat_panel(colors: np.ndarray, side: int) -> Image.Image:
    """Like :func:`photo_panel`, but to the nearest pixel: label colours are never blended."""
    return ImageOps.contain(Image.fromarray(colors), (side, side), Image.Resampling.NEAREST)


def sheet(
    titles: Sequence[str], rows: Sequence[Row], side: int, labels: LabelSet, blocks: int = 1
) -> Image.Image:
    """Draws rows of panels under their titles, in ``blocks`` columns filled in turn, above a legend."""
    per_block = -(-len(rows) // blocks)
    blocks = -(-len(rows) // per_block)  # five rows fill three of four blocks
    caption = CAPTION if any(row.caption for row in rows) else 0
    cell, step = side + GAP, side + GAP + caption
    block_width = len(titles) * cell - GAP + BLOCK_GAP
    width, bottom = blocks * block_width - BLOCK_GAP + 2 * GAP, HEADER + per_block * step
    canvas = Image.new("RGB", (width, bottom + _legend_height(width, labels)), "white")
    draw = ImageDraw.Draw(canvas)
    for block in range(blocks):
        for column, title in enumerate(titles):
            center = block * block_width + GAP + column * cell + side // 2
            draw.text((center, HEADER // 2), title, "black", _fitting(HEADER_TEXT, title, side), anchor="mm")
    for number, row in enumerate(rows):
        left = number // per_block * block_width + GAP
        top = HEADER + number % per_block * step
        if row.caption:
            font = _fitting(CAPTION_TEXT, row.caption, block_width - BLOCK_GAP)
            draw.text((left, top + caption // 2), row.caption, "black", font, anchor="lm")
        for column, panel in enumerate(row.panels):
            x = left + column * cell + (side - panel.width) // 2
            canvas.paste(panel, (x, top + caption + (side - panel.height) // 2))
    _draw_legend(draw, width, bottom, labels)
    return canvas


def _legend_height(width: int, labels: LabelSet) -> int:
    return -(-len(labels) // _legend_columns(width, labels)) * LEGEND_ROW + 2 * GAP


def _legend_columns(width: int, labels: LabelSet) -> int:
    font = _font(LEGEND_TEXT)
    widest = LEGEND_TEXT_AT + GAP + max(ceil(font.getlength(name)) for name in labels.names)
    fitting = max(1, (width - GAP) // max(LEGEND_CELL, widest))
    return -(-len(labels) // -(-len(labels) // fitting))  # rows of equal length


def _draw_legend(draw: ImageDraw.ImageDraw, width: int, top: int, labels: LabelSet) -> None:
    columns = _legend_columns(width, labels)
    cell = (width - GAP) // columns
    for number, label in enumerate(labels.labels):
        x, y = GAP + number % columns * cell, top + GAP + number // columns * LEGEND_ROW
        draw.rectangle((x, y + 3, x + 16, y + LEGEND_ROW - 6), label.color, "black")
        draw.text(
            (x + LEGEND_TEXT_AT, y + LEGEND_ROW // 2), label.name, "black", _font(LEGEND_TEXT), anchor="lm"
        )


def _fitting(size: int, text: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font at this size, or as much smaller as the text needs to be no wider than ``width`` pixels."""
    while size > SMALLEST_TEXT and _font(size).getlength(text) > width:
        size -= 1
    return _font(size)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
