"""Figures of a checkpoint on a split: ``python -m distributed.evaluate``, also under torchrun."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from distributed.exit import finish
from lisa.config.limits import Limited, Range
from lisa.data.source import SplitFlags
from lisa.errors import InputError
from lisa.system.files import is_stream

if TYPE_CHECKING:
    from lisa.data.pairs import Pair
    from lisa.evaluation.evaluate import Evaluation
    from lisa.face_parser import FaceParser


@dataclass(frozen=True)
class Arguments(Limited):
    """Evaluates any checkpoint of lisa on a folder of faces.

    Beside the figures a folder of pictures is written: the confusion matrix, and the worst and the best
    twenty as picture, truth, prediction and error.
    """

    checkpoint: Path
    """best.pt or last.pt of a run, the report's author's best_model.pth, or drawn: the weights in the box."""
    source: SplitFlags
    output: Path
    """Where the figures go, as JSON: results/val.json, say, with its pictures in results/val_pictures/."""
    size: Annotated[int | None, Range(16, unit="pixels"), tyro.conf.arg(metavar="PX")] = None
    """Side that the network sees, in pixels; the one it was trained at if not given."""
    tta: Literal["none", "flip"] = "none"
    """flip: the mean with the mirrored picture's result, left and right swapped back; twice the time."""
    noise: Annotated[float, Range(0, 255, "grey levels")] = 0.0
    """Standard deviation of Gaussian noise on every picture, in grey levels of 255, at the network's size:
    how it fares on grainy photographs."""
    workers: Annotated[int, Range(0), tyro.conf.arg(aliases=["--data.workers"])] = 2
    """Decoding processes per rank; 0 decodes in the evaluating process."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output.is_dir():
            raise InputError(f"--output {self.output}: is a folder; name the JSON file to write")
        if is_stream(self.output):
            raise InputError(f"--output {self.output}: a device or a pipe; name the JSON file to write")
        if self.output.resolve() == self.checkpoint.resolve():
            raise InputError(f"--output {self.output}: is the checkpoint; name the JSON file to write")
        if self.output.exists() and not _has_figures(self.output):
            raise InputError(f"--output {self.output}: is there, and no evaluation's; name another JSON file")

    @property
    def pictures(self) -> Path:
        """The folder of pictures beside the figures."""
        return self.output.with_name(f"{self.output.stem}_pictures")


def _has_figures(path: Path) -> bool:
    """Whether a file is an evaluation's JSON, or empty."""
    try:
        content = json.loads(path.read_bytes() or b'{"miou": 0}')
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and "miou" in content


def main() -> int:
    """Parses, opens the world, evaluates, closes, writes the figures and pictures."""
    arguments = tyro.cli(Arguments, prog="python -m distributed.evaluate")
    from distributed.world import open_world  # torch takes seconds: a wrong argument need not wait for it
    from lisa.data.checking import check_pairs, ignored_notes
    from lisa.evaluation.evaluate import evaluate, require_room
    from lisa.evaluation.wrappers import FlipAveraged, Noisy
    from lisa.face_parser import FaceParser
    from lisa.run.checkpoint import load_network
    from lisa.system.files import make_folders

    with open_world() as world:
        trained = world.fail_together(lambda: load_network(arguments.checkpoint))
        labels, data = trained.config.labels, trained.config.data
        if arguments.tta == "flip":
            world.fail_together(lambda: labels.require_both_sides("leave out --tta flip"))
        source, notes = arguments.source.as_trained(data.root, data.encoding)
        pairs = world.fail_together(lambda: source.pairs(labels, data.val_share))
        world.fail_together(lambda: require_room(pairs, arguments.workers, world))
        checked = check_pairs(pairs, world.gather_patiently, world.rank, world.world_size)
        folders = [arguments.output.parent, arguments.pictures]
        world.fail_together(lambda: make_folders(folders if world.is_main else []))
        network = FlipAveraged(trained.network, labels) if arguments.tta == "flip" else trained.network
        size = arguments.size or trained.config.data.size
        if arguments.noise > 0:
            network = Noisy(network, size, arguments.noise)
        result = evaluate(network.to(world.device), size, pairs, world, workers=arguments.workers)
    if world.is_main:
        for note in (*notes, *checked.notes, *ignored_notes(pairs[0].encoding)):
            print(note)
        parser = FaceParser.for_prediction(network, size, world.device)
        _write(arguments, size, trained.origin, result, pairs, parser)
    return 0


def _write(
    arguments: Arguments,
    size: int,
    origin: str,
    result: "Evaluation",
    pairs: "list[Pair]",
    parser: "FaceParser",
) -> None:
    """Table, JSON and pictures, by rank 0 alone once the others may go."""
    from lisa.evaluation.bootstrap import miou_interval
    from lisa.evaluation.metrics import figures, picture_mious
    from lisa.evaluation.table import class_table
    from lisa.figures.worst_and_best import draw_evaluation, order_by_miou
    from lisa.system.console import console
    from lisa.system.files import write_whole

    tally = result.tally
    record = {"exploded_pictures": result.exploded, **figures(tally), "miou_interval": miou_interval(tally)}
    console.print(class_table(record, f"{arguments.checkpoint} on {arguments.source.split}"))
    mious = picture_mious(tally).tolist()
    asked = {"checkpoint": str(arguments.checkpoint), "split": arguments.source.split, "size": size}
    if origin:
        console.print(f"{arguments.checkpoint}: {origin}", markup=False, highlight=False, soft_wrap=True)
        asked["origin"] = origin
    encoding = pairs[0].encoding
    if encoding.text:
        asked |= {"encoding": encoding.text, "ignored_labels": list(encoding.ignored)}
    content = {
        **asked,
        "tta": arguments.tta,
        "noise": arguments.noise,
        "pictures": len(pairs),
        **record,
        "picture_mious": {pairs[index].image.stem: mious[index] for index in order_by_miou(tally)},
    }
    write_whole(arguments.output, (json.dumps(content, indent=2) + "\n").encode())
    draw_evaluation(arguments.pictures, tally, pairs, parser)
    written = f"{arguments.output} and {arguments.pictures}/: confusion.png, worst.png, best.png"
    console.print(written, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    finish(main)
