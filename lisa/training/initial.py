"""The network that a run begins with: random weights, or those of train.init."""

from dataclasses import replace
from typing import Literal, NamedTuple

from torch import nn

from lisa.config import Config
from lisa.config.schema import NARROW_BOUND, WIDE_BOUND
from lisa.config.shapes import SHAPES
from lisa.errors import InputError
from lisa.models import build
from lisa.models.classifier import CLASSIFIER, carry_over
from lisa.run import checkpoint

UNSEEN = ("activation", "hamburger", "bound")
"""Options of LISA that change what a network computes; its weights' names and shapes may stay the same."""


class Start(NamedTuple):
    """What a run begins with."""

    config: Config
    """With a settled bound."""
    network: nn.Module
    notes: list[str]
    """What the user should know of the first weights."""
    warnings: list[str]
    """What these weights compute otherwise than they were trained to."""


def start_network(config: Config, before: Config | None = None) -> Start:
    """The network of a new run, or of one that goes on.

    ``before`` is the config of a run that goes on: that has weights of its own. Any other run has those of
    train.init. Of a network with another label set the classifier's rows of labels with the same role or name
    are taken.

    Raises:
        InputError: it is over the cap, or the checkpoint can't be read or is of another network.
    """
    init = config.train.init
    if before is not None or not init:
        config = _within(config, NARROW_BOUND if before is None else before.model.bound)
        return Start(config, build(config.model, len(config.labels)), [], [])
    initial = checkpoint.load(init)
    theirs = Config.from_dict(initial["config"])
    if theirs.model.name != config.model.name:
        raise InputError(
            f"{init}: weights of another network ({theirs.model.name}, this run trains "
            f"{config.model.name}): give --model.name {theirs.model.name}, or --init '' for random ones"
        )
    if not all(key in initial["weights"] for key in CLASSIFIER):
        raise InputError(f"{init}: weights of another network (no {CLASSIFIER[0]})")
    chosen, own = config.model, theirs.model.bound or WIDE_BOUND
    assert own != "auto"  # a run settles it before it writes anything
    config = _within(config, own)
    network = build(config.model, len(config.labels))
    weights, rows = carry_over(initial["weights"], network, theirs.labels, config.labels)
    checkpoint.load_weights(network, weights, init)
    narrower = chosen.bound != "auto" and 0 < chosen.bound < own
    unlike = [
        f"{init}: the weights were trained with model.{name} {getattr(theirs.model, name)}; with "
        f"{getattr(chosen, name)} they may begin as nonsense"
        for name in (UNSEEN if chosen.name in SHAPES else ())
        if getattr(chosen, name) != getattr(theirs.model, name) and (name != "bound" or narrower)
    ]
    return Start(config, network, [note for note in (initial.get("origin", ""), rows) if note], unlike)


def _within(config: Config, bound: float | Literal["auto"]) -> Config:
    """The config with a number in place of the bound auto."""
    return replace(config, model=config.model.within(bound))
