"""Optuna under Ray Tune: where the next point comes from, and which trials are stopped early (ASHA).

ASHA: Li et al., MLSys 2020, https://arxiv.org/abs/1810.05934.
"""

import warnings
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tune.plots import distributions
from tune.space import Space

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

REDUCTION = 3
"""At each rung one trial of three goes on."""


def make_searcher(space: Space, kind: str, latency: bool, seed: int) -> OptunaSearch:
    """Draws points of the space, the recipe's own first. With ``latency`` there are two objectives."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return OptunaSearch(
        distributions(space),
        metric=["best_miou", "latency_ms"] if latency else "best_miou",
        mode=["max", "min"] if latency else "max",
        points_to_evaluate=[space.start()],
        sampler=_sampler(kind, seed),
    )


def _sampler(kind: str, seed: int) -> BaseSampler:
    if kind == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls two of these options experimental
        # Trials run side by side: one that is not done yet counts as bad, and the next looks elsewhere.
        return TPESampler(seed=seed, multivariate=True, constant_liar=True)


class ResumableASHA(ASHAScheduler):
    """Ray saves searchers but no schedulers: a restored trial's epochs are played to the rungs again."""

    def on_trial_add(self, tune_controller: "TuneController", trial: Trial) -> None:
        """Adds the trial; one that is restored brings its curve along."""
        super().on_trial_add(tune_controller, trial)
        for epoch, miou in enumerate((trial.last_result or {}).get("curve", []), 1):
            self.on_trial_result(tune_controller, trial, {"epoch": epoch, "best_miou": miou})


def make_scheduler(epochs: int) -> ResumableASHA:
    """Stops trials by their best val mIoU so far, from a ninth of the epochs on."""
    return ResumableASHA(
        time_attr="epoch",
        metric="best_miou",
        mode="max",
        max_t=epochs,
        grace_period=max(1, epochs // REDUCTION**2),
        reduction_factor=REDUCTION,
        stop_last_trials=False,
    )
