"""Soft masks from probabilities, at the picture's own size: the alpha of cut-outs."""

import numpy as np
import torch
import torch.nn.functional as F

from .faces.put_back import blocks, sample
from .photos import Parsed
from .pictures import Pixels, from_frame, to_frame


def opacity(parsed: Parsed, ids: list[int], picture: Pixels, fit: str) -> Pixels:
    """(H,W) 0..255: how probable one of these labels is, of all faces where they overlap the largest.

    Beyond all frames everything is background.
    """
    assert parsed.probabilities is not None
    if 0 in ids:
        others = sorted({*range(parsed.probabilities.shape[-3])} - {*ids})
        return np.uint8(255) - opacity(parsed, others, picture, fit)
    wanted = torch.from_numpy(parsed.probabilities[..., ids, :, :].astype(np.float32)).sum(-3)
    if parsed.faces is None:
        height, width = to_frame(picture, fit).shape[:2]
        plane = F.interpolate(wanted[None, None], size=[height, width], mode="bilinear", align_corners=False)
        return from_frame(_bytes(plane[0, 0]), picture.shape, fit)
    whole = np.zeros(picture.shape[:2], np.uint8)
    for face, plane in zip(parsed.faces, wanted, strict=True):
        for block in blocks(torch.tensor(face.frame), *picture.shape[:2]):
            shown = _bytes(sample(plane[None], block.grid)[0]) * block.inside
            target = whole[block.rows, block.columns]
            np.maximum(target, shown, out=target)
    return whole


def _bytes(plane: torch.Tensor) -> Pixels:
    return (plane * 255).round().clamp(0, 255).to(torch.uint8).numpy()
