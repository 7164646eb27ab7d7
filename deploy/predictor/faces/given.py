"""Faces that another program found: a file of boxes or of five points, and the frames that they stand for."""

import csv
import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CannotStartError
from .finder import Given

Numbers = tuple[float, ...]
"""Ten: x, y of left eye, right eye, nose, left and right corner of the mouth, as seen. Four: left, top,
right, bottom of a box. In the upright picture's pixels."""

FARTHEST = 10_000_000
"""Pixels from a picture's corner; float32 tells no half pixels apart beyond."""

BOX_SIDES = (1.7, 1.35, 2.1)
"""Sides of the frames that are tried for a box, in its longer sides: detectors disagree about foreheads."""

BOX_UP = 0.08
"""How far the frame's centre lies above the box's, in sides of the frame."""


def read_list(path: Path) -> bytes:
    """What the file holds. Raises CannotStartError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotStartError(f"--faces {path}: {error.strerror}; or one of auto, frame, find") from None


def read_given(content: bytes, path: Path) -> dict[str, list[Numbers]]:
    """The faces of each picture, by the picture's path as the file has it. Raises CannotStartError.

    A .csv file has a line per face: the picture and its numbers. Any other holds JSON lines, one per picture
    or face: ``{"picture": "a.jpg", "points": [[x, y], ...]}``, ``{"picture": "a.jpg", "box": [...]}``, or
    ``{"picture": "a.jpg", "faces": [{"box": [...]}, ...]}``.
    """
    found: dict[str, list[Numbers]] = {}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CannotStartError(f"--faces {path}: not UTF-8 text; or one of auto, frame, find") from None
    lines = _from_csv(text) if path.suffix.lower() == ".csv" else _from_json(text)
    line = 0
    try:
        for number, picture, faces in lines:
            line = number
            if not picture or b"\0" in os.fsencode(picture):  # or it can't be encoded: a ValueError too
                raise ValueError(f"{picture!r} names no picture")
            found.setdefault(picture, []).extend(numbers_of(face) for face in faces)
    except (ValueError, TypeError, KeyError, csv.Error, RecursionError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise CannotStartError(f"--faces {path}: line {line} or after it: {reason}") from None
    if not found:
        raise CannotStartError(f"--faces {path}: names no picture")
    return found


def _from_csv(text: str) -> Iterator[tuple[int, str, list[Any]]]:
    # Lines end as Python's files do: splitlines would break names at U+2028 and the like, too.
    for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        values = [value.strip() for value in row]
        if not any(values) or (number == 1 and not any(map(_is_number, values[1:]))):
            continue  # an empty line, or the columns' names
        yield number, values[0], [values[1:]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_json(text: str) -> Iterator[tuple[int, str, list[Any]]]:
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        row = json.loads(line)
        if not isinstance(row, Mapping) or not isinstance(row["picture"], str):
            raise ValueError('a line is an object with "picture", and "points", "box" or "faces"')
        yield number, row["picture"], row.get("faces", [row])


def numbers_of(face: Any) -> Numbers:
    """A face as the file has it, or its numbers. Raises ValueError, TypeError or KeyError."""
    values = face
    if isinstance(face, Mapping):
        values = face["points"] if "points" in face else face["box"]
        values = [item for value in values for item in (value if isinstance(value, list) else [value])]
    numbers = tuple(float(value) for value in values)
    if len(numbers) not in (4, 10) or not all(abs(value) <= FARTHEST for value in numbers):
        raise ValueError(
            f"{len(numbers)} numbers: a face has ten (five points), or four (a box), all within {FARTHEST:,}"
        )
    if len(numbers) == 4 and not (numbers[0] < numbers[2] and numbers[1] < numbers[3]):
        raise ValueError(f"box {list(numbers)}: left, top, right, bottom")
    if len(numbers) == 4 and max(numbers[2] - numbers[0], numbers[3] - numbers[1]) < 2:
        raise ValueError(f"box {list(numbers)}: is smaller than 2 pixels; its numbers are pixels, not shares")
    if len(numbers) == 10 and _frame_of_points(numbers)[0, 2] < 1:
        raise ValueError(f"points {list(numbers)}: eyes and mouth lie on one spot")
    return numbers


def given(numbers: Numbers) -> Given:
    """The frames that a face may have."""
    if len(numbers) == 10:
        return Given(_frame_of_points(numbers), surely=True)
    left, top, right, bottom = numbers
    sides = [max(right - left, bottom - top) * share for share in BOX_SIDES]
    frames = [[(left + right) / 2, (top + bottom) / 2 - BOX_UP * side, side, 0.0] for side in sides]
    return Given(torch.tensor(frames), surely=False)


def _frame_of_points(numbers: Numbers) -> Tensor:
    """(1,4): CelebA-HQ's own alignment (Karras et al., ICLR 2018, appendix C)."""
    left_eye, right_eye, _, left_mouth, right_mouth = torch.tensor(numbers).view(5, 2)
    across, down = right_eye - left_eye, (left_mouth + right_mouth - left_eye - right_eye) / 2
    if float(across[0] * down[1] - across[1] * down[0]) < 0:  # the person's left is first
        across = -across
    x = across - torch.stack([-down[1], down[0]])
    half = max(2 * float(across.norm()), 1.8 * float(down.norm()))
    centre = (left_eye + right_eye) / 2 + 0.1 * down
    return torch.tensor([[*centre.tolist(), 2 * half, math.atan2(float(x[1]), float(x[0]))]])
