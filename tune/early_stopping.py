"""ASHA (Li et al., MLSys 2020, https://arxiv.org/abs/1810.05934) that a restored search does not forget."""

from typing import TYPE_CHECKING

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

REDUCTION = 3
"""At each rung one trial of three goes on."""


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
