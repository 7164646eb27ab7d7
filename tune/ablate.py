"""Runs the rows of the report's tables: ``python -m tune.ablate --table 4 --data ROOT --seeds K``."""

import shlex
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lisa.config import Config, report
from lisa.config.command_line import parse
from lisa.config.limits import Range
from lisa.errors import ExitCode
from tune.ablations import Ablation, markdown
from tune.arguments import Options, claim, run_entry, settle
from tune.cluster import (
    check_faces,
    check_nodes,
    check_start,
    node_resources,
    open_cluster,
    settle_environment,
)
from tune.storage import put_text

if TYPE_CHECKING:
    from tune.experiment import Outcome


@dataclass(frozen=True)
class AblateArguments(Options):
    """What an ablation was asked for."""

    table: Literal[2, 3, 4, 5] = 4
    """The report's table: 2 networks, 3 augmentation, 4 loss, 5 activation."""
    seeds: Annotated[int, Range(1)] = 1
    """Runs of each row, with train.seed and the numbers after it."""
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)

    def recipe(self) -> dict[str, object]:
        """What may not change when the ablation goes on."""
        return {"table": self.table, "seeds": self.seeds, **self.config.by_name()}


def with_own_output(config: Config) -> AblateArguments:
    """The defaults around a recipe, whose own output is for a training run."""
    return AblateArguments(config=replace(config, output="runs/ablation"))


def main() -> int:
    """Parses, checks what can be checked, opens Ray, trains all rows, writes the table."""
    arguments = parse(
        sys.argv[1:],
        with_own_output,
        report,
        "python -m tune.ablate",
        "Trains the rows of one of the report's tables, each with some seeds, and writes a Markdown table.",
    )
    config = settle(arguments.config)
    arguments = replace(arguments, config=config)
    ablation = Ablation(config, arguments.table)
    check_start(arguments.cluster, config, arguments.processes(arguments.gpus(available=1)))
    settle_environment()
    from lisa.system.console import console
    from tune.experiment import complete

    with claim(config.output, arguments.recipe(), arguments.resume), open_cluster(arguments.cluster):
        outcomes = _run(arguments, ablation)
    whole = [outcome for outcome in outcomes if outcome.finished and not outcome.error]
    results = [(outcome.point, outcome.result) for outcome in whole]
    command = shlex.join(["python", "-m", "tune.ablate", *sys.argv[1:]])
    text = markdown(ablation, results, command)
    put_text(config.output, f"table{arguments.table}.md", text)
    console.print(text, highlight=False, markup=False)
    for outcome in outcomes:
        if outcome.error:
            line = f"trial {outcome.trial} failed: {outcome.error}"
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    if not complete(outcomes, len(ablation.rows) * arguments.seeds):
        text = f"stopped: the same command with --resume goes on ({config.output})"
        console.print(text, soft_wrap=True, markup=False)
        return ExitCode.STOPPED
    return 0 if len(whole) == len(outcomes) else 1


def _run(arguments: AblateArguments, ablation: Ablation) -> "list[Outcome]":
    """Every row with every seed."""
    import ray
    from ray import tune as ray_tune

    from lisa.system.console import console
    from tune.experiment import Experiment, trial_resources
    from tune.table import TrialTable
    from tune.trial import Job

    available = ray.cluster_resources()
    gpus = arguments.gpus(available.get("GPU", 0))
    processes = arguments.processes(gpus)
    first = ablation.base.train.seed
    rows, seeds = range(len(ablation.rows)), range(first, first + arguments.seeds)
    trials = len(rows) * len(seeds)
    experiment = Experiment(
        Job(ablation.config, ablation.base.output, processes, gpus, arguments.threads),
        trial_resources(gpus, processes, arguments.threads),
        trials,
        grid={"row": ray_tune.grid_search([*rows]), "seed": ray_tune.grid_search([*seeds])},
    )
    epochs = ablation.base.train.epochs
    slots = experiment.slots(node_resources())
    check_nodes(ablation.base, experiment)
    console.print(
        f"{trials} runs of {epochs} epochs, {slots} at a time; {ablation.base.output}",
        highlight=False,
        soft_wrap=True,
    )
    check_faces(ablation.base)
    with TrialTable(console, epochs, trials, {"row": "row", "seed": "seed"}) as table:
        return experiment.run(table, arguments.resume)


if __name__ == "__main__":
    run_entry(main)
