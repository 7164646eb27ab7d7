"""Searches learning rate, loss weights, augmentation and shape: ``python -m tune.search --data ROOT``."""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lisa.config import Config, best
from lisa.config.command_line import Switch, parse
from lisa.config.limits import Range
from lisa.errors import ExitCode, InputError
from lisa.run.names import BEST, CONFIG
from lisa.system.process import run_tied
from tune.arguments import Options, claim, run_entry, settle
from tune.cluster import (
    check_faces,
    check_nodes,
    check_start,
    node_resources,
    open_cluster,
    settle_environment,
)
from tune.space import Space
from tune.torchrun import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tune.experiment import Experiment, Outcome

COLUMNS = {
    "lr": "optim.lr",
    "decay": "optim.weight_decay",
    "CE": "loss.cross_entropy",
    "Dice": "loss.dice",
    "Lovasz": "loss.lovasz",
    "augment": "augment.strength",
}
"""What the table shows of a point."""


@dataclass(frozen=True)
class SearchArguments(Options):
    """What a search was asked for."""

    trials: Annotated[int, Range(1)] = 16
    """How many points are tried; the first is the recipe itself."""
    trial_epochs: Annotated[int | None, Range(1), tyro.conf.arg(metavar="N")] = None
    """Epochs of a trial; a tenth of the recipe's without it. The winner is written with the recipe's own."""
    search: Literal["tpe", "random"] = "tpe"
    """Optuna's tree-structured Parzen estimator, or independent draws."""
    objective: Annotated[Literal["miou", "miou,latency"], tyro.conf.arg(metavar="miou|miou,latency")] = "miou"
    """miou stops hopeless trials early (ASHA). miou,latency trains every trial to its end and looks for the
    Pareto front of val mIoU and the exported file's CPU milliseconds; it needs --architecture."""
    architecture: Switch = False
    """Search the depths, widths and Hamburger of LISA or lisa_fold4 too; every shape is under
    model.max-parameters."""
    then_train: Switch = False
    """Train the winner in full with launch.sh, and export it."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective == "miou,latency" and not self.architecture:
            raise InputError("--objective miou,latency needs --architecture: one network has one latency")

    @property
    def epochs(self) -> int:
        """A trial's budget."""
        return self.trial_epochs or max(1, self.config.train.epochs // 10)

    def recipe(self) -> dict[str, object]:
        """What may not change when the search goes on."""
        names = ("trials", "search", "objective", "architecture")
        own = {name: getattr(self, name) for name in names}
        return {**own, "trial_epochs": self.epochs, **self.config.by_name()}


def with_own_output(config: Config) -> SearchArguments:
    """The defaults around a recipe, whose own output is for a training run."""
    return SearchArguments(config=replace(config, output="runs/search"))


def main() -> int:
    """Parses, checks what can be checked, opens Ray, searches, writes what was found."""
    arguments = parse(
        sys.argv[1:],
        with_own_output,
        best,
        "python -m tune.search",
        "Searches a recipe's learning rate, weight decay, loss weights, augmentation strength and, with "
        "--architecture, shape.",
    )
    config = settle(arguments.config)
    arguments = replace(arguments, config=config)
    space = Space(config, arguments.architecture)
    check_start(arguments.cluster, config, arguments.processes(arguments.gpus(available=1)))
    settle_environment()
    from lisa.system.console import console
    from tune.experiment import complete
    from tune.results import write_results

    with claim(config.output, arguments.recipe(), arguments.resume), open_cluster(arguments.cluster):
        outcomes = _search(arguments, space)
    if not complete(outcomes, arguments.trials):
        text = f"stopped: the same command with --resume goes on ({config.output})"
        console.print(text, soft_wrap=True, markup=False)
        return ExitCode.STOPPED
    path = write_results(config.output, space, outcomes, arguments.objective == "miou,latency", console)
    if arguments.then_train:
        return _train_and_export(path, config)
    text = f"Train it in full: ./launch.sh --config {path}"
    console.print(text, highlight=False, soft_wrap=True, markup=False)
    return 0


def _search(arguments: SearchArguments, space: Space) -> "list[Outcome]":
    """Every trial's outcome."""
    import ray

    from lisa.system.console import console
    from tune.table import TrialTable

    resources = ray.cluster_resources()
    experiment = _experiment(arguments, space, resources)
    slots = experiment.slots(node_resources())
    check_nodes(space.base, experiment)
    console.print(
        f"{arguments.trials} trials of {arguments.epochs} epochs, {slots} at a time; {space.base.output}",
        highlight=False,
        soft_wrap=True,
    )
    check_faces(space.base)
    with TrialTable(console, arguments.epochs, arguments.trials, COLUMNS) as table:
        return experiment.run(table, arguments.resume)


def _experiment(arguments: SearchArguments, space: Space, available: "Mapping[str, float]") -> "Experiment":
    from tune.experiment import Experiment, trial_resources
    from tune.searcher import make_scheduler, make_searcher
    from tune.trial import Job

    config, latency = space.base, arguments.objective == "miou,latency"
    gpus = arguments.gpus(available.get("GPU", 0))
    processes = arguments.processes(gpus)
    short = replace(config, train=replace(config.train, epochs=arguments.epochs))
    job = Job(
        Space(short, space.architecture).config, config.output, processes, gpus, arguments.threads, latency
    )
    return Experiment(
        job,
        trial_resources(gpus, processes, arguments.threads),
        arguments.trials,
        searcher=make_searcher(space, arguments.search, latency, config.train.seed),
        scheduler=None if latency else make_scheduler(arguments.epochs),
    )


def refuse_another(output: Path, winner: Config) -> None:
    """Raises InputError if the folder holds the training of a trial that led before others were retried."""
    try:
        begun = Config.from_json((output / CONFIG).read_text())
    except FileNotFoundError:
        return
    searched = ("model", "augment", "loss", "optim")
    if any(getattr(begun, section) != getattr(winner, section) for section in searched):
        raise InputError(
            f"{output}: holds the training of another trial's settings: delete it, then --resume"
        )


def _train_and_export(path: Path, config: Config) -> int:
    """The winner through launch.sh and deploy.export; the first code that is not 0."""
    from tune.storage import local_data

    winner = Config.from_json(path.read_text())
    output = Path(winner.output)
    refuse_another(output, winner)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (
        [
            str(CHECKOUT / "launch.sh"),
            "--config",
            str(path),
            "--data",
            local_data(config.data.root),
            "--resume",
        ],
        [
            *(sys.executable, "-m", "deploy.export"),
            *("--checkpoint", str(output / BEST), "--output", str(output / "lisa.ts")),
        ],
    ):
        code = run_tied(command, environment, CHECKOUT)
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    run_entry(main)
