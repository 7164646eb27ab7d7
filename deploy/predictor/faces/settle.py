"""What the parsing network says of a face that another one has found: where it lies, and whether it is one.

The finder is small, and may have been trained on other faces; the weights in the box were, on drawn ones. The
parsing network sees the face at its own size. docs/predict.md has what it changes.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from .align import view_of
from .arrangement import Arrangement
from .finder import Face
from .points import five_points

LEAST_SCORE = 0.5
"""Below it no face is there, or it is turned otherwise. In scenes of benchmarks.photos lisa_fold4 at 512 gave
true frames, nearly all of frontal faces, .69 and more, others .48 and less, but for two of thirty faces that
lay at 60 and 90 degrees and were found turned otherwise: .71 and .87."""

SHIFT, GROWTH, TURN = 0.1, math.log(1.25), math.radians(15)
"""Larger moves lead to another face, or nowhere: of the centre (sides), the side (logarithm), the angle."""


def settle(face: Face, logits: Tensor, arrangement: Arrangement) -> Face | None:
    """The face in the frame that its ``logits`` (C,size,size) speak for; None if it is none.

    ``arrangement`` is that of the faces which the parsing network was trained on.
    """
    frame, probabilities = torch.tensor([face.frame]), logits[None].softmax(1)
    view = view_of(frame, probabilities, arrangement)
    if view.score[0] < LEAST_SCORE:
        return None
    x, y, side, angle = view.moved[0].tolist()
    near = math.hypot(x - face.frame[0], y - face.frame[1]) < SHIFT * face.frame[2]
    alike = abs(math.log(side / face.frame[2])) < GROWTH and abs(angle - face.frame[3]) < TURN
    if not (near and alike):
        return face
    points = five_points(probabilities, frame, arrangement)[0].tolist()
    return replace(face, frame=(x, y, side, angle), points=tuple((a, b) for a, b in points))
