"""The training command line: a recipe's name or a config file, short flags, every config field by its path.

``python -m lisa.config ARGUMENTS`` only checks them: launch.sh does so before it starts processes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lisa.config import RECIPES, Config, best
from lisa.errors import InputError
from lisa.files import read_text

SHORT_FLAGS = {
    "--data": "--data.root",
    "--size": "--data.size",
    "--init": "--train.init",
    "--epochs": "--train.epochs",
    "--batch-size": "--train.batch-size",
    "--lr": "--optim.lr",
    "--auto-batch": "--train.auto-batch",
    "--checkpoint-every": "--train.checkpoint-every",
}

SHORT_FLAGS_HELP = (
    "Short for the paths below: "
    + ", ".join(f"{short} = {path}" for short, path in SHORT_FLAGS.items())
    + "."
)


@dataclass(frozen=True)
class TrainArguments:
    """What a training command was asked for."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the run in --output."""


def parse_training(arguments: Sequence[str]) -> TrainArguments:
    """Parses ``[RECIPE | --config FILE] [--options]``; without either, the recipe is ``best``."""
    words = list(arguments)
    config = starting_config(words)
    return tyro.cli(
        TrainArguments,
        prog=f"./launch.sh [{' | '.join(RECIPES)} | --config FILE]",
        description=f"Trains a face parser. {SHORT_FLAGS_HELP} "
        "Without any argument: a demonstration on synthetic faces.",
        args=[long_flag(word) for word in words],
        default=TrainArguments(config),
    )


def starting_config(words: list[str], default: Callable[[], Config] = best) -> Config:
    """The recipe or file that the command begins with, taken off the words; ``default`` without either."""
    if words and words[0] in RECIPES:
        return RECIPES[words.pop(0)]()
    if words and words[0] == "--config":
        if len(words) < 2:
            raise InputError("--config: which file?")
        path = Path(words[1])
        del words[:2]
        return Config.from_json(read_text(path, "--config"))
    if words and not words[0].startswith("-"):
        raise InputError(f"no recipe {words[0]!r}: one of {', '.join(RECIPES)}")
    return default()


def long_flag(word: str) -> str:
    """The word with a short flag written out: ``--lr=1`` becomes ``--optim.lr=1``."""
    flag, equals, value = word.partition("=")
    return SHORT_FLAGS.get(flag, flag) + equals + value
