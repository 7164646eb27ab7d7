"""What an exported file knows of finding faces: a small network, and where an aligned face's parts lie."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.predictor.faces.arrangement import Arrangement
from deploy.predictor.faces.finder import Finder
from lisa.errors import InputError
from lisa.run.checkpoint import Trained, load_network

LARGEST = 128
"""A network trained at more pixels would search for longer than it parses."""

RECOGNISED = 0.5
"""Share of aligned faces that a network must recognise before it may search."""


def choose_finder(
    trained: Trained, finder: Path | None, pictures: list[Tensor]
) -> tuple[dict[str, Any], Trained | None]:
    """What the file says of its faces, and the network to put beside its own; None if none is needed.

    ``pictures`` (1,3,H,W) uint8 are aligned faces. Without ``finder`` a network that was trained small
    enough is its own. If there is none, the file says the ``reason``, and that it parses whole frames only.

    Raises:
        InputError: ``finder`` can't be read, or can't find faces.
    """
    searching = trained if finder is None else load_network(finder)
    reason = _reason(searching, pictures)
    if reason and finder is not None:
        raise InputError(f"--finder {finder}: {reason}")
    if reason:
        return {"reason": f"{reason}; a finder makes up for it: deploy.export --finder best.pt"}, None
    assert searching.arrangement is not None
    size = searching.config.data.size
    content = {**searching.arrangement, "size": size, "window": _window(size), "own": finder is None}
    return content, None if finder is None else searching


def _window(size: int) -> int:
    """Pixels at which faces are searched for: the larger they are, the longer it takes."""
    return round(size * 2 / 3)


def _reason(trained: Trained, pictures: list[Tensor]) -> str:
    """Why this network can't find faces; empty if it can."""
    if trained.config.data.size > LARGEST:
        return f"it was trained at {trained.config.data.size} pixels, and searching takes {LARGEST} or fewer"
    arrangement = trained.arrangement
    if arrangement is None:
        return "its checkpoint is from before they said where the parts of a face lie"
    if "reason" in arrangement:
        return str(arrangement["reason"])
    found = recognised(trained, pictures)
    if found < RECOGNISED * len(pictures):
        return f"it recognises {found} of {len(pictures)} aligned faces"
    return ""


@torch.inference_mode()
def recognised(trained: Trained, pictures: list[Tensor]) -> int:
    """How many of the aligned faces the network takes for such."""
    assert trained.arrangement is not None
    parser, size = trained.parser(), trained.config.data.size

    def dense(images: Tensor) -> Tensor:
        return parser.network(parser.normalise(images)).float()

    finder = Finder(dense, Arrangement.from_metadata(trained.arrangement), size, _window(size))
    scores = [finder.whole(picture[0].permute(1, 2, 0).numpy()).score for picture in pictures]
    return sum(score > 0.6 for score in scores)
