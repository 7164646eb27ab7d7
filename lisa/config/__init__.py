"""Every setting of a training run. Imports no torch, so that --help and a wrong argument answer at once."""

from lisa.config.recipes import RECIPES, best, demo, finder, report
from lisa.config.schema import (
    AugmentConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

__all__ = [
    "RECIPES",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "TrainConfig",
    "best",
    "demo",
    "finder",
    "report",
]
