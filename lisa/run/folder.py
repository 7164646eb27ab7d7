"""A run's folder, locked for one job: its config and its checkpoints, the last one and the one before."""

from pathlib import Path
from typing import IO, Any

from torch import nn

from lisa.config import Config
from lisa.config.checkpoint_every import Cadence
from lisa.errors import InputError
from lisa.files import make_folders, write_whole
from lisa.lock import lock_folder
from lisa.models import deployable
from lisa.run import checkpoint
from lisa.run.log import RunLog
from lisa.training.state import TrainState
from lisa.world import World

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"


class RunFolder:
    """``path`` and what is written there, by rank 0 alone; every rank reads."""

    def __init__(self, config: Config, world: World) -> None:
        self.path = Path(config.output)
        self._config, self._world = config, world
        self._lock: IO[str] | None = None
        self._best: memoryview | None = None
        self._last_is_good = True
        self._unsaved = False
        self._cadence = Cadence(config.train.checkpoint_every, step=0)

    def open(self, resume: bool) -> None:
        """Makes the folder and locks it.

        Raises:
            InputError: it can't be written, another job trains into it, or it holds another run.
        """
        if not self._world.is_main:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path)
            make_folders([self.path])  # nobody else writes here now: clears what a killed run left
        except OSError as error:
            raise InputError(f"--output {self.path} can't be written: {error.strerror}") from None
        self.refuse_another_run(resume)

    def write_config(self) -> None:
        """Writes config.json, once nothing speaks against a run with it. Raises InputError."""
        if self._world.is_main:
            write_whole(self.path / "config.json", (self._config.to_json() + "\n").encode())

    def refuse_another_run(self, resume: bool) -> None:
        """Raises InputError where a new run would write over one, or over what is left of one."""
        try:
            taken = self.holds_run or (self.path / BEST).exists()
        except OSError as error:  # a folder on the way that may not be entered
            raise InputError(f"--output {self.path} can't be read: {error.strerror}") from None
        if taken and not resume:
            raise InputError(f"{self.path} holds a run: go on with --resume, or choose another --output")

    @property
    def holds_run(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / LAST).exists() or (self.path / PREVIOUS).exists()

    def restore(self, state: TrainState) -> list[str]:
        """Puts the last checkpoint into the state; a folder without one is a run that has not begun.

        Where it can't be read, the one before serves. Returns what the user should hear of.

        Raises:
            InputError: neither can be read, or it is of another network or version.
        """
        if not self.holds_run:
            return []
        notes: list[str] = []
        try:
            path, saved = self.path / LAST, checkpoint.load(self.path / LAST)
        except checkpoint.DamagedError as error:
            path = self.path / PREVIOUS
            if not path.exists():
                raise
            try:
                saved = checkpoint.load(path)
            except checkpoint.DamagedError as second:
                raise InputError(
                    f"no checkpoint of this run can be read: {error}; {second}; choose another --output"
                ) from None
            self._last_is_good = False
            notes.append(f"{error}; going on from the checkpoint before it, {path.name}")
        model = Config.from_dict(saved["config"]).model
        if model != self._config.model:
            raise InputError(f"{path}: trained {model}, the config says {self._config.model}")
        state.load_state_dict(saved["training"], str(path))
        self._cadence.saved(state.step)
        return notes + self._changes(state)

    def _changes(self, state: TrainState) -> list[str]:
        """What is not as it was when the run began."""
        notes: list[str] = []
        if state.batch > state.steps_per_epoch:
            state.batch = state.steps_per_epoch
            notes.append(
                f"an epoch has {state.steps_per_epoch} steps now, fewer than were done: it counts as done"
            )
        size, batch = self._world.world_size, self._config.train.batch_size
        if state.begun_with not in (0, size):
            notes.append(
                f"the run began with {state.begun_with} processes and goes on with {size}: batches of "
                f"{batch} as before, in {parts_of_batch(self._config, state, size)} part(s) per process"
            )
        return notes

    def save_due(self, state: TrainState) -> bool:
        """Whether rank 0 wants a checkpoint before the epoch's end."""
        return self._cadence.due(state.step)

    def save_last(self, state: TrainState, log: RunLog) -> None:
        """Writes last.pt, and best.pt if there is a new one; the last.pt before stays as previous.pt.

        All ranks call it. A full disk costs this checkpoint, not the run: the former ones stay, and a warning
        says so.
        """
        if self._world.is_main:
            log.flush()
            state.log_offset = log.offset
            weights = deployable(state.averaged).state_dict()
            content = checkpoint.payload(weights, self._config, {"best_miou": state.best})
            content["training"] = state.state_dict()
            try:
                if self._best is not None:  # first: a last.pt that knows of it must not come without it
                    checkpoint.write(self._best, self.path / BEST)
                    self._best = None
                former = self.path / PREVIOUS if self._last_is_good else None
                checkpoint.write(checkpoint.pack(content), self.path / LAST, former)
                self._last_is_good, self._unsaved = True, False
            except OSError as error:
                self._unsaved = True
                log.warn(
                    f"no checkpoint at step {state.step}: {error.strerror}; make room in {self.path}; "
                    "the former one stays"
                )
        self._cadence.saved(state.step)
        self._world.barrier()

    def require_saved(self) -> None:
        """Raises InputError where the latest checkpoint could not be written: no run may end like that."""
        if self._unsaved:
            raise InputError(
                f"{self.path} has no room for the last checkpoint: make room, then go on with --resume, "
                "from the one before it"
            )

    def keep_best(self, network: nn.Module, record: dict[str, Any]) -> None:
        """Takes a network, as it is now, for best.pt: save_last writes it, once the disk has room."""
        if self._world.is_main:
            self._best = checkpoint.pack(checkpoint.payload(network.state_dict(), self._config, record))

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.close()


def parts_of_batch(config: Config, state: TrainState, processes: int) -> int:
    """Parts in which a rank's share of a batch goes through the network, as large as at first or smaller."""
    begun_with = state.begun_with or processes
    return -(-config.train.accumulate * begun_with // processes)
