"""The Ray Tune experiment under search and ablate: it can be stopped and resumed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import Any, NamedTuple

from ray import tune as ray_tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from lisa.errors import InputError
from tune.table import TrialTable, last_words
from tune.trial import Job, run_trial

EXPERIMENT = "ray"
"""Ray's own folder inside the results."""

RETRIES = 3
"""How many times a trial whose process died is started again, from its last epoch."""


class Outcome(NamedTuple):
    """A trial's end: its point, what it last reported, and what went wrong."""

    trial: str
    point: dict[str, Any]
    result: dict[str, Any]
    error: str
    finished: bool


@dataclass(frozen=True)
class Experiment:
    """A Ray Tune experiment over a job's points: drawn by a searcher, or all of a grid."""

    job: Job
    resources: dict[str, float]
    trials: int
    grid: dict[str, Any] | None = None
    searcher: Searcher | None = None
    scheduler: TrialScheduler | None = None

    def run(self, table: TrialTable, resume: bool) -> list[Outcome]:
        """Runs all trials that are not finished yet; returns every trial's outcome, finished or not.

        Ctrl-C and SIGTERM end it early, and in good order. Raises InputError if Ray's state can't be read.
        """
        trainable = ray_tune.with_resources(ray_tune.with_parameters(run_trial, job=self.job), self.resources)
        place = f"{self.job.results}/{EXPERIMENT}"
        if resume and ray_tune.Tuner.can_restore(place):
            try:
                tuner = ray_tune.Tuner.restore(
                    place, trainable, resume_unfinished=True, resume_errored=True, param_space=self.grid
                )
            except (EOFError, UnpicklingError) as error:
                raise InputError(
                    f"{place}/tuner.pkl: cut short or damaged ({error}): delete {place}, then --resume "
                    "begins all trials anew"
                ) from None
        else:
            tuner = self._new_tuner(trainable, table)
        tuner.fit()
        return outcomes_of(table.states)

    def slots(self, nodes: Sequence[Mapping[str, float]]) -> int:
        """How many trials run at a time on nodes with these resources, each on one of them.

        Raises InputError where none can.
        """
        fits = sum(self.trials_on(node) for node in nodes)
        if fits < 1:
            has = "; ".join(f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes)
            raise InputError(f"a trial asks for {self.resources} on one node, Ray's have {has}: ask for less")
        return min(fits, self.trials)

    def trials_on(self, node: Mapping[str, float]) -> int:
        """How many trials run at a time on a node with these resources."""
        asked = {name.upper(): amount for name, amount in self.resources.items() if amount > 0}
        return min(self.trials, *(int(node.get(name, 0) / amount) for name, amount in asked.items()))

    def _new_tuner(self, trainable: Any, table: TrialTable) -> ray_tune.Tuner:
        return ray_tune.Tuner(
            trainable,
            param_space=self.grid,
            tune_config=ray_tune.TuneConfig(
                num_samples=1 if self.grid else self.trials,
                search_alg=self.searcher,
                scheduler=self.scheduler,
                reuse_actors=True,  # the next trial finds Ray's process started and torch imported
                trial_dirname_creator=_trial_folder,
            ),
            run_config=ray_tune.RunConfig(
                name=EXPERIMENT,
                storage_path=self.job.results,
                failure_config=ray_tune.FailureConfig(max_failures=RETRIES),
                callbacks=[table],
                verbose=0,
            ),
        )


def _trial_folder(trial: Trial) -> str:
    return trial.trial_id


def outcomes_of(states: Iterable[tuple[Trial, str]]) -> list[Outcome]:
    """The outcomes of trials with Ray's word for each, as they began.

    Of a resumed search Ray has them in another order. It keeps when each began at first.
    """

    def began(pair: tuple[Trial, str]) -> float:
        return pair[0].run_metadata.start_time or math.inf

    return [_outcome(trial, state) for trial, state in sorted(states, key=began)]


def _outcome(trial: Trial, state: str) -> Outcome:
    error = last_words(trial) if state == Trial.ERROR else ""
    finished = state in (Trial.TERMINATED, Trial.ERROR)
    return Outcome(trial.trial_id, dict(trial.config), dict(trial.last_result or {}), error, finished)


def complete(outcomes: Iterable[Outcome], trials: int) -> bool:
    """Whether all trials that were asked for have come to an end."""
    return sum(outcome.finished for outcome in outcomes) == trials


def trial_resources(gpus: float, processes: int, threads: int) -> dict[str, float]:
    """What Ray sets aside for a trial."""
    return {"cpu": processes * threads, "gpu": gpus}
