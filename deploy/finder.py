"""What an exported file knows of finding faces: a small network, and where an aligned face's parts lie."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deploy.predictor.faces.align import view_of
from deploy.predictor.faces.arrangement import Arrangement
from deploy.predictor.faces.finder import Finder
from deploy.predictor.faces.settle import LEAST_SCORE
from deploy.predictor.photos import is_aligned, is_square
from lisa.errors import InputError
from lisa.run.checkpoint import Trained, load_network
from lisa.weights import DRAWN

LARGEST = 128
"""A network trained at more pixels would search for longer than it parses."""

RECOGNISED = 0.5
"""Share of aligned faces that a network must recognise before it may search."""

JUDGES = 0.75
"""Share of aligned faces that a network must see as such before it may reject what a finder finds: one that
has hardly learnt yet would reject everything."""

WHOLE = torch.tensor([[0.5, 0.5, 1.0, 0.0]])
"""The frame of an aligned face: all of the picture."""

AUTO, NONE = "auto", "none"
"""What ``--finder`` may be beside a checkpoint."""


def choose_finder(
    trained: Trained, finder: str, pictures: list[Tensor]
) -> tuple[dict[str, Any], Trained | None]:
    """What the file says of its faces, and the network to put beside its own; None if none is needed.

    ``finder`` is a checkpoint, or one of two words. none: no finder. auto: the first of these that can find
    faces: the network itself, if it was trained with wide geometry; the weights in the box
    (docs/model_card.md); the network itself without such training.

    ``pictures`` (1,3,H,W) uint8 are aligned faces, of which a finder must recognise enough. A network that
    sees enough of them as faces itself may move and reject what another one finds: the file then has its
    arrangement as ``parser``. Without a finder the file says the ``reason``, and parses whole frames only.

    Raises:
        InputError: ``finder`` can't be read, or can't find faces.
    """
    if finder == NONE:
        return {"reason": "it was exported with --finder none"}, None
    if finder != AUTO:
        searching = load_network(Path(finder))
        if reason := _reason(searching, pictures):
            raise InputError(f"--finder {finder}: {reason}")
        return _of_another(trained, searching, pictures), searching
    reason = _reason(trained, pictures)
    if not reason and trained.config.augment.wide > 0:
        return _content(trained, own=True), None
    boxed = load_network(Path(DRAWN))
    boxed_reason = _reason(boxed, pictures)
    if not boxed_reason:
        return _of_another(trained, boxed, pictures), boxed
    if not reason:
        return _content(trained, own=True), None
    advice = "deploy.export --finder best.pt takes another finder"
    return {"reason": f"{reason}; the weights in the box can't either: {boxed_reason}; {advice}"}, None


def _content(searching: Trained, own: bool) -> dict[str, Any]:
    assert searching.arrangement is not None
    size = searching.config.data.size
    return {**searching.arrangement, "size": size, "window": _window(size), "own": own}


def _of_another(trained: Trained, searching: Trained, pictures: list[Tensor]) -> dict[str, Any]:
    """Also where the parsing network's own faces have their parts, if it may judge what the finder finds."""
    content, own = _content(searching, own=False), trained.arrangement
    if own is None or "reason" in own:
        return content
    parser, arrangement = trained.parser(), Arrangement.from_metadata(own)
    with torch.inference_mode():
        seen = [view_of(WHOLE, parser.logits(each).softmax(1), arrangement).score[0] for each in pictures]
    sure = sum(float(score) >= LEAST_SCORE for score in seen)
    return {**content, "parser": own} if sure >= JUDGES * len(pictures) else content


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
    found = recognised(_finder(trained), pictures)
    if found < RECOGNISED * len(pictures):
        return f"{found} of {len(pictures)} aligned faces are recognised, or they are framed in another way"
    return ""


def recognised(finder: Finder, pictures: list[Tensor]) -> int:
    """How many of the pictures ``--faces auto`` would take for aligned faces, as evaluation does.

    Others are framed in another way than the finder's, who would cut other frames than they were trained in.
    """
    pixels = (picture[0].permute(1, 2, 0).numpy() for picture in pictures)
    return sum(is_square(each) and is_aligned(finder.whole(each)) for each in pixels)


def _finder(trained: Trained) -> Finder:
    """Of a network that is not exported yet."""
    assert trained.arrangement is not None
    parser, size = trained.parser(), trained.config.data.size

    def dense(images: Tensor) -> Tensor:
        return parser.network(parser.normalise(images)).float()

    return Finder(dense, Arrangement.from_metadata(trained.arrangement), size, _window(size))
