"""Shows a running search: a table that is redrawn, or lines where there is no terminal."""

import time
from datetime import timedelta
from types import TracebackType
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.table import Table

STATES = {
    Trial.PENDING: "waiting",
    Trial.RUNNING: "running",
    Trial.PAUSED: "paused",
    Trial.TERMINATED: "done",
    Trial.ERROR: "error",
}
REDRAW_SECONDS = 0.5


_current: "list[TrialTable]" = []


def _current_table() -> "TrialTable":
    return _current[-1]


def last_words(trial: Trial) -> str:
    """The last line of what a trial failed with."""
    lines = str(trial.get_error() or "no message").strip().splitlines()
    return lines[-1].strip()


class TrialTable(Callback):
    """Listens to Ray Tune. Use as a context manager around making or restoring a Tuner and its ``fit``.

    ``epochs`` is a trial's budget, ``trials`` how many are asked for, ``columns`` the point's values to show:
    header to the point's name. ``states`` holds all trials with Ray's word for how each stands.
    """

    def __init__(self, console: Console, epochs: int, trials: int, columns: dict[str, str]) -> None:
        self.console, self.epochs, self.total, self.columns = console, epochs, trials, columns
        self.live: Live | None = None
        self.started = self.drawn = time.time()
        self.states: list[tuple[Trial, str]] = []

    def __enter__(self) -> "TrialTable":
        _current.append(self)
        if self.console.is_terminal:
            self.live = Live(console=self.console, auto_refresh=False)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.remove(self)
        if self.live is not None:
            self.live.stop()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Ray pickles its callbacks with an experiment: a restored one gets the table of its own process."""
        return _current_table, ()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Redraws the table."""
        self.states = [(trial, trial.status) for trial in trials]
        if self.live is not None and time.time() - self.drawn > REDRAW_SECONDS:
            self.drawn = time.time()
            self.live.update(self.render(trials), refresh=True)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints the trial's id and its point."""
        shown = "  ".join(f"{header} {self._value(trial, name)}" for header, name in self.columns.items())
        self._say(f"trial {trial.trial_id} starts  {shown}")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Prints the epoch's figures."""
        if result["diverged"]:
            self._say(f"trial {trial.trial_id} diverged: it scores 0")
            return
        self._say(
            f"trial {trial.trial_id} epoch {result['epoch']}/{self.epochs}  "
            f"mIoU {100 * result['miou']:.2f}  best {100 * result['best_miou']:.2f}"
        )

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints that the trial ended, and how many have."""
        done = sum(other.status in (Trial.TERMINATED, Trial.ERROR) or other is trial for other in trials)
        self._say(f"trial {trial.trial_id} ends ({done} of {self.total})")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints the trial's error."""
        self._say(f"trial {trial.trial_id} failed: {last_words(trial)}")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Prints that the trial is tried again."""
        self._say(
            f"trial {trial.trial_id} failed, and is tried again from its last epoch: {last_words(trial)}"
        )

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Notes the states where no step did: of an experiment that was complete when it was restored."""
        if not self.states:
            self.states = [(trial, trial.status) for trial in trials]

    def render(self, trials: list[Trial]) -> Table:
        """The running trials, the ten best of the others, and how many there are."""
        table = Table(title=f"{len(trials)} of {self.total} trials", title_justify="left")
        for header in ("trial", "state", "epoch", *self.columns, "params", "best mIoU", "ETA"):
            table.add_column(header, justify="left" if header in ("trial", "state") else "right")
        running = [trial for trial in trials if trial.status in (Trial.RUNNING, Trial.PENDING, Trial.PAUSED)]
        others = [trial for trial in trials if trial not in running]
        others.sort(key=lambda trial: (trial.last_result or {}).get("best_miou", 0.0), reverse=True)
        for trial in [*running, *others[:10]]:
            result = trial.last_result or {}
            values = [self._value(trial, name) for name in self.columns.values()]
            best = f"{100 * result['best_miou']:.2f}" if "best_miou" in result else "-"
            epoch = f"{result.get('epoch', 0)}/{self.epochs}"
            parameters = f"{result['parameters']:,}" if "parameters" in result else "-"
            state = "diverged" if result.get("diverged") else STATES[trial.status]
            eta = self._eta(trial, result)
            table.add_row(trial.trial_id, state, epoch, *values, parameters, best, eta)
        if len(others) > 10:
            table.caption = f"and {len(others) - 10} more"
        return table

    def _eta(self, trial: Trial, result: dict[str, Any]) -> str:
        """Time to the trial's last epoch at its own rate so far."""
        if trial.status != Trial.RUNNING or not result.get("epoch"):
            return "-"
        per_epoch = (result["last_heard"] - result["began"]) / max(1, result["iterations_since_restore"])
        left = per_epoch * (self.epochs - result["epoch"]) - (time.time() - result["last_heard"])
        return str(timedelta(seconds=round(max(0.0, left))))

    def _value(self, trial: Trial, name: str) -> str:
        value = trial.config.get(name)
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    def _say(self, line: str) -> None:
        if self.live is None:
            minutes, seconds = divmod(round(time.time() - self.started), 60)
            self.console.print(
                f"{minutes:3d}:{seconds:02d}  {line}", highlight=False, soft_wrap=True, markup=False
            )
