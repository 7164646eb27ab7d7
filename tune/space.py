"""The search space: every point is a config that may be trained, under the parameter cap by construction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from lisa.config import AugmentConfig, Config, ModelConfig
from lisa.config.limits import Range, ranges
from lisa.config.shapes import SHAPES
from lisa.errors import InputError

Point = Mapping[str, Any]
"""A sampled value for each of the space's names."""

OPEN_END = 0.9
"""Of a limit that an amount must stay below, the share that the strength may reach."""


class Interval(NamedTuple):
    """An interval, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def holding(self, value: float) -> "Interval":
        """The interval made wide enough for the value; a logarithmic one has no room for 0."""
        if self.log and value <= 0:
            return self
        return self._replace(low=min(self.low, value), high=max(self.high, value))

    def nearest(self, value: float) -> float:
        """The value, or the interval's end beside it."""
        return min(max(value, self.low), self.high)


def strengthen(augment: AugmentConfig, strength: float, size: int) -> AugmentConfig:
    """The augmentation with its amounts multiplied, as far as they may go. A flip has no strength.

    ``size`` is the pictures' side, in pixels.
    """

    def most(name: str, limit: Range) -> float:
        if name == "blur":
            return min(limit.high, (size - 1) / 2)  # Config's own limit
        return max(getattr(augment, name), limit.high * OPEN_END) if limit.open_high else limit.high

    amounts = {
        name: min(getattr(augment, name) * strength, most(name, limit))
        for name, limit in ranges(AugmentConfig).items()
        if name != "flip"
    }
    return replace(augment, **amounts)


@dataclass(frozen=True)
class Space:
    """Ranges around the values of ``base``; with ``architecture`` the network's shape is searched too.

    A shape is drawn as depths, the growth of width from stage to stage, the Hamburger's ratio and a share of
    the cap. The widths follow: the largest with that growth whose exact count stays within the share.
    """

    base: Config
    architecture: bool = False

    def __post_init__(self) -> None:
        name = self.base.model.name
        if self.architecture and name not in SHAPES:
            raise InputError(
                f"--architecture searches the shape of {' or '.join(SHAPES)}, the network is {name}"
            )
        init = self.base.train.init
        if self.architecture and init:
            raise InputError(
                f"--init {init}: weights of one shape, and --architecture tries others: give --init ''"
            )

    def ranges(self) -> dict[str, Interval]:
        """The interval of each name; all hold the base's own value, but a weight decay of 0."""
        lr = self.base.optim.lr
        ranges = {
            "optim.lr": Interval(lr / 10, lr * 4, log=True),
            "optim.weight_decay": Interval(1e-5, 1e-1, log=True),
            "loss.cross_entropy": Interval(0.05, 2),
            "loss.dice": Interval(0, 2),
            "loss.lovasz": Interval(0, 2),
            "augment.strength": Interval(0, 2),
        }
        if self.architecture:
            ranges |= {f"shape.depth{stage}": Interval(1, 4, integer=True) for stage in range(1, 6)}
            ranges |= {f"shape.growth{stage}": Interval(1, 3, log=True) for stage in range(2, 6)}
            ranges |= {
                "shape.hamburger_ratio": Interval(0.125, 1, log=True),
                "shape.share": Interval(0.25, 1),
            }
        values = self._values()
        return {name: interval.holding(values[name]) for name, interval in ranges.items()}

    def start(self) -> dict[str, float]:
        """The base as a point: where the search begins."""
        values = self._values()
        return {name: interval.nearest(values[name]) for name, interval in self.ranges().items()}

    def config(self, point: Point) -> Config:
        """The base with the point's values."""
        base = self.base
        lr = point["optim.lr"]
        optim = replace(
            base.optim,
            lr=lr,
            min_lr=min(base.optim.min_lr, lr),
            weight_decay=point["optim.weight_decay"],
        )
        loss = replace(
            base.loss,
            cross_entropy=point["loss.cross_entropy"],
            dice=point["loss.dice"],
            lovasz=point["loss.lovasz"],
        )
        augment = strengthen(base.augment, point["augment.strength"], base.data.size)
        changed = replace(base, optim=optim, loss=loss, augment=augment)
        return replace(changed, model=self._model(point)) if self.architecture else changed

    def _values(self) -> dict[str, float]:
        base, model = self.base, self.base.model
        values = {
            "optim.lr": base.optim.lr,
            "optim.weight_decay": base.optim.weight_decay,
            "loss.cross_entropy": base.loss.cross_entropy,
            "loss.dice": base.loss.dice,
            "loss.lovasz": base.loss.lovasz,
            "augment.strength": 1.0,
        }
        if self.architecture:
            values |= {f"shape.depth{stage}": depth for stage, depth in enumerate(model.depths, 1)}
            growths = (above / below for below, above in pairwise(model.widths))
            values |= {f"shape.growth{stage}": growth for stage, growth in enumerate(growths, 2)}
            share = model.count(len(self.base.labels)) / (model.max_parameters - 1)
            values |= {"shape.hamburger_ratio": model.hamburger_ratio, "shape.share": share}
        return values

    def _model(self, point: Point) -> ModelConfig:
        """The largest network of the point's proportions within its share of the cap."""
        model = self.base.model
        depths = tuple(int(point[f"shape.depth{stage}"]) for stage in range(1, 6))
        ratio = float(point["shape.hamburger_ratio"])
        limit = round(point["shape.share"] * (model.max_parameters - 1))
        proportions = [1.0]
        for stage in range(2, 6):
            proportions.append(proportions[-1] * point[f"shape.growth{stage}"])

        def scaled(scale: float) -> ModelConfig:
            widths = tuple(max(2, round(scale * part)) for part in proportions)
            return replace(model, widths=widths, depths=depths, hamburger_ratio=ratio)

        # The count never falls as the scale grows: bisect, until the widths can't change any more.
        low, high = 0.0, float(limit)
        for _ in range(80):
            middle = (low + high) / 2
            fits = scaled(middle).count(len(self.base.labels)) <= limit
            low, high = (middle, high) if fits else (low, middle)
        return scaled(low)
