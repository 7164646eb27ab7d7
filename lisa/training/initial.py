"""The network that a run begins with: random weights, or those of train.init."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from lisa.config import Config
from lisa.config.shapes import SHAPES
from lisa.data.faces import read_face
from lisa.data.pairs import Pair
from lisa.errors import InputError
from lisa.evaluation.evaluate import SANE_LOGIT
from lisa.face_parser import FaceParser
from lisa.models import build
from lisa.models.classifier import CLASSIFIER, carry_over
from lisa.models.lisa import LISA
from lisa.models.rescale import rescale
from lisa.run import checkpoint

UNSEEN = ("activation", "hamburger")
"""Options of LISA that change what a network computes; its weights' names and shapes may stay the same."""
MEASURED = 16
"""Training pictures on which the products of weights without a bound are measured."""


class Start(NamedTuple):
    """What a run begins with."""

    network: nn.Module
    notes: list[str]
    """What the user should know of the first weights."""
    warnings: list[str]
    """What these weights compute otherwise than they were trained to."""


def start_network(config: Config, faces: Sequence[Pair] = (), goes_on: bool = False) -> Start:
    """The network of a new run, or of one that goes on, which has weights of its own.

    Any other run has the weights of train.init. Of a network with another label set the classifier's rows of
    labels with the same role or name are taken. Weights that were trained without bounds, or within wider
    ones, are rescaled so that ``faces``, some of the run's training pictures, stay within half of the run's
    bound; without faces they stay as they are.

    Raises:
        InputError: it is over the cap, or the checkpoint can't be read, is of another network, or explodes on
            all of the faces.
    """
    init = config.train.init
    if goes_on or not init:
        return Start(build(config.model, len(config.labels)), [], [])
    initial = checkpoint.load(init)
    theirs = Config.from_dict(initial["config"])
    if theirs.model.name != config.model.name:
        raise InputError(
            f"{init}: weights of another network ({theirs.model.name}, this run trains "
            f"{config.model.name}): give --model.name {theirs.model.name}, or --init '' for random ones"
        )
    if not all(key in initial["weights"] for key in CLASSIFIER):
        raise InputError(f"{init}: weights of another network (no {CLASSIFIER[0]})")
    network = build(config.model, len(config.labels))
    weights, rows = carry_over(initial["weights"], network, theirs.labels, config.labels)
    checkpoint.load_weights(network, weights, init)
    notes = [note for note in (initial.get("origin", ""), rows) if note]
    bound, own = config.model.bound or math.inf, theirs.model.bound or math.inf
    if faces and bound < own:
        _bring_within(network, config, faces)
        trained = f"within {own:g}" if own < math.inf else "without bounds"
        notes.append(f"trained {trained}; rescaled, so that model.bound = {bound:g} does not cut them off")
    unlike = [
        f"{init}: the weights were trained with model.{name} {getattr(theirs.model, name)}; with "
        f"{getattr(config.model, name)} they may begin as nonsense"
        for name in (UNSEEN if config.model.name in SHAPES else ())
        if getattr(config.model, name) != getattr(theirs.model, name)
    ]
    return Start(network, notes, unlike)


@torch.no_grad()
def _bring_within(network: nn.Module, config: Config, faces: Sequence[Pair]) -> None:
    """Rescales the network's weights. A picture on which they explode says nothing of the others."""
    free = build(replace(config.model, bound=0.0), len(config.labels)).eval()
    assert isinstance(free, LISA)
    free.load_state_dict(network.state_dict())
    size, init = config.data.size, config.train.init
    parser = FaceParser(free, size)
    pairs = faces[:: -(-len(faces) // MEASURED)]
    pictures = [parser.normalise(read_face(pair, size, 0).image[None]) for pair in pairs]
    ordinary = [picture for picture in pictures if free(picture).abs().max() <= SANE_LOGIT]  # nan is not
    if not ordinary:
        raise InputError(
            f"{init}: has logits beyond {SANE_LOGIT:g} on each of {len(pictures)} training pictures, so its "
            f"weights can't be rescaled to model.bound = {config.model.bound:g}: give --model.bound 0, or "
            "begin with other weights"
        )
    rescale(free, ordinary, config.model.bound / 2)
    network.load_state_dict(free.state_dict())
