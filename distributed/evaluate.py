"""Figures of a checkpoint on a split: ``python -m distributed.evaluate``, also under torchrun."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from distributed.exit import finish
from lisa.label_orders import CELEBAMASK


@dataclass(frozen=True)
class Arguments:
    """Evaluates any checkpoint of lisa on a folder of faces."""

    checkpoint: Path
    """best.pt or last.pt of a run."""
    data: Path
    """Folder with the split."""
    output: Path
    """Where the figures go, as JSON."""
    split: str = "val"
    """train, val or test."""
    label_order: str = CELEBAMASK
    """Order of the masks' ids: celebamask-hq, face-parsing.pytorch, or your own names, comma separated."""
    size: Annotated[int | None, tyro.conf.arg(metavar="PX")] = None
    """Side that the network sees, in pixels; the one it was trained at if not given."""


def main() -> int:
    """Parses, opens the world, evaluates, writes the figures, closes."""
    arguments = tyro.cli(Arguments, prog="python -m distributed.evaluate")
    from distributed.world import open_world  # torch takes seconds: a wrong argument need not wait for it
    from lisa.checkpoint import load_network
    from lisa.console import class_table, console
    from lisa.data.files import make_folders, write_whole
    from lisa.data.pairs import check_pairs, find_pairs
    from lisa.evaluation import evaluate
    from lisa.metrics import figures

    with open_world() as world:
        trained = world.agree(lambda: load_network(arguments.checkpoint))
        pairs = world.agree(lambda: find_pairs(arguments.data, arguments.split, arguments.label_order))
        check_pairs(pairs, world.gather, world.rank, world.size)
        size = arguments.size or trained.config.data.size
        result = evaluate(trained.network.to(world.device), size, pairs, world, workers=2)
        record = figures(result.tally)
        if world.is_main:
            console.print(class_table(record, f"{arguments.checkpoint} on {arguments.split}"))
            asked = {"checkpoint": str(arguments.checkpoint), "split": arguments.split, "size": size}
            make_folders([arguments.output.parent])
            write_whole(arguments.output, (json.dumps({**asked, **record}, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    finish(main)
