"""A run as it is kept: its folder, logs, checkpoints and summary, from the first step to the last."""

import math
import os
import platform
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from torch import nn

from lisa.config import Config
from lisa.config.checkpoint_every import Cadence
from lisa.errors import InputError
from lisa.run import checkpoint
from lisa.run.folder import RunFolder
from lisa.run.log import RunLog
from lisa.run.names import BEST, CONFIG
from lisa.run.rank_log import rank_log
from lisa.run.same_run import require_same_run
from lisa.run.summary import Summary
from lisa.system.files import write_whole
from lisa.system.lock import require_lock_of
from lisa.world import World


class State(Protocol):
    """What a run asks of the state that it keeps; ``lisa.training.state`` has it."""

    epoch: int
    batch: int
    best: float
    best_epoch: int

    @property
    def step(self) -> int:
        """Optimizer steps since the run began."""
        ...

    @property
    def averaged(self) -> nn.Module:
        """The network whose weights a checkpoint is known by."""
        ...

    def state_dict(self, world: World) -> dict[str, Any]:
        """All that a resumed run needs; all ranks call it."""
        ...

    def end_epoch(self, miou: float) -> bool:
        """Moves on to the next epoch; whether the one that ends was the best so far."""
        ...


class Run:
    """The folder of a config's run, open inside ``with``: locked, with each rank's log and its watchdog.

    All ranks make the same calls, in the same order; rank 0 writes. ``restore``, then ``begin``, then the
    rest. Raises InputError on all ranks where one can't go on.
    """

    def __init__(self, config: Config, world: World, resume: bool) -> None:
        self.folder = RunFolder(Path(config.output))
        self.log = RunLog(self.folder.path, active=False)
        self._config, self._world, self._resume = config, world, resume
        self._arrangement: dict[str, Any] | None = None
        self._stack = ExitStack()
        self._cadence = Cadence(config.train.checkpoint_every, step=0)
        self._log_offset = 0
        self._val = ""
        self._summary: Summary | None = None

    def __enter__(self) -> "Run":
        with ExitStack() as stack:  # closes what is open already where one of them raises
            stack.callback(self.folder.close)
            self._world.fail_together(lambda: self.folder.open(self._resume) if self._world.is_main else None)
            holder = self._world.all_gather((platform.node(), os.getpid()))[0]
            # With a disk of its own, a host would begin anew where the others go on. Rank 0 itself must not
            # look: to close the file again would give its lock back.
            self._world.fail_together_patiently(
                lambda: None if self._world.is_main else require_lock_of(self.folder.path, *holder)
            )
            stream = stack.enter_context(rank_log(self.folder.path, self._world))
            stack.callback(self._world.watch, None)
            self._world.watch(stream)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def refuse_another(self) -> None:
        """Raises InputError where the folder holds a run that is not to be resumed. Writes nothing."""
        self._world.fail_together(lambda: self.folder.refuse_another_run(self._resume))

    def restore(self, val: str) -> tuple[dict[str, Any] | None, list[str]]:
        """The checkpoint to go on from, a plain dict, and what the user should hear of; None for a new run.

        ``val`` is the fingerprint of the validation faces: on others, figures don't compare.

        Raises InputError if it is of another network, or if ranks read different ones.
        """
        self._val = val
        if not self._resume:
            return None, []
        saved, notes = self._world.fail_together(self.folder.load_last)
        training: dict[str, Any] = {} if saved is None else saved["training"]
        self._refuse_different((training.get("epoch", 0), training.get("batch", 0)))
        if saved is None:
            return None, [f"--resume: no run in {self.folder.path} yet, so it begins", *notes]
        require_same_run(saved, self._config, self.folder.path)
        self._log_offset = training["log_offset"]
        if void := self._best_is_void(training):
            saved["training"] = {**training, "best": -1.0, "best_epoch": 0}
            notes.append(f"{void}: the best from now on counts")
        return saved, notes

    def _best_is_void(self, training: dict[str, Any]) -> str:
        """Why no epoch to come can be compared with the best one so far; empty if one can.

        Rank 0, which writes, decides: another host may see an older state of the disk.
        """
        config, epoch, best = self._config.train, training["epoch"], training["best_epoch"]
        goes_on = epoch < config.epochs and best > 0 and epoch - best < config.patience
        others = training.get("val", self._val) != self._val  # none was kept by earlier versions
        lost = best > 0 and not (self.folder.path / BEST).exists()
        others, lost = self._world.all_gather((others, lost))[0]
        if goes_on and others:
            return "the validation faces are others than before"
        return f"{BEST} of epoch {best} is not there" if lost else ""

    def _refuse_different(self, position: tuple[int, int]) -> None:
        seen = self._world.all_gather((position, self._world.place))
        others = [f"{place}: epoch {at[0]}, step {at[1]}" for at, place in seen if at != seen[0][0]]
        if others:
            (epoch, batch), _ = seen[0]
            raise InputError(
                f"ranks read different checkpoints in {self.folder.path} (rank 0: epoch {epoch}, step "
                f"{batch}; {'; '.join(others)}): is it one folder that all hosts share?"
            )

    def begin(self, config: Config, state: State, arrangement: dict[str, Any] | None = None) -> None:
        """Writes config.json and summary.json and opens the logs: nothing speaks against the run any more.

        ``config`` is settled: what it left to the machine has been chosen. ``arrangement``, which rank 0
        alone has, goes into every checkpoint.
        """
        self._arrangement = arrangement
        self._config, self._cadence = config, Cadence(config.train.checkpoint_every, state.step)
        hosts = self._world.all_gather(platform.node())
        self._world.fail_together(lambda: self._open(state, hosts) if self._world.is_main else None)

    def _open(self, state: State, hosts: list[str]) -> None:
        path = self.folder.path
        write_whole(path / CONFIG, (self._config.to_json() + "\n").encode())
        # After an epoch's last step its figures, which stand at this step in TensorBoard, are yet to come.
        purge_step = state.step + (state.batch == 0 < state.step)
        try:
            self.log = RunLog(path, True, self._log_offset, state.step, purge_step)
        except OSError as error:
            raise InputError(f"--output {path} can't be written: {error.strerror}") from None
        self._stack.enter_context(closing(self.log))
        self._summary = Summary(path, self._config, hosts, state.step, self._resume)

    def save_due(self, step: int) -> bool:
        """Whether rank 0 wants a checkpoint after this step, before the epoch's end."""
        return self._cadence.due(step)

    def save(self, state: State) -> None:
        """Writes last.pt, and best.pt if there is a new one; the last.pt before stays as previous.pt.

        Changes nothing in the state. If the disk is full, logs a warning, keeps the earlier checkpoints and
        goes on training.
        """
        training = state.state_dict(self._world)
        if self._world.is_main:
            self.log.flush()
            weights = state.averaged.state_dict()
            figures = {"best_miou": state.best} if state.best_epoch > 0 else {}
            content = checkpoint.payload(weights, self._config, figures, self._arrangement)
            fault = self.folder.save_last(
                {**content, "training": {**training, "log_offset": self.log.offset, "val": self._val}}
            )
            if fault is not None:
                self.log.warn(
                    f"no checkpoint at step {state.step}: {fault}; make room in {self.folder.path}; "
                    "the former one stays"
                )
        self._cadence.saved(state.step)
        self._world.barrier()

    def end_epoch(
        self, state: State, record: dict[str, Any], network: nn.Module, picture: Callable[[], np.ndarray]
    ) -> None:
        """Ends an epoch of these figures: best weights, next epoch, log, picture, checkpoint, in this order.

        ``network`` is the one that the record speaks of, ``picture`` draws what it sees, (H,W,3) uint8. The
        log's line also has ``best_epoch``, the best so far; 0 for none.
        """
        best = state.end_epoch(record["miou"])
        if best and self._world.is_main:
            weights = network.state_dict()
            content = checkpoint.payload(weights, self._config, record, self._arrangement)
            self.folder.keep_best(content)
        self.log.epoch({**record, "best_epoch": state.best_epoch}, state.step)
        if math.isnan(record["miou"]):
            self.log.warn(
                f"epoch {state.epoch}: val mIoU is not a number, for no validation pixel has a label that "
                "counts: no epoch can be the best, and no best.pt is written"
            )
        if best and self._world.is_main:
            self._draw(picture, state.step)
        self.save(state)

    def _draw(self, picture: Callable[[], np.ndarray], step: int) -> None:
        """A figure that can't be drawn costs itself, and not the run: the other ranks know nothing of it."""
        try:
            self.log.picture("val/best", picture(), step)
        except InputError as error:
            self.log.warn(f"no picture of this epoch: {error}")

    def end(self, how: str, **figures: Any) -> None:
        """Completes summary.json. Raises InputError if the last checkpoint found no room."""
        self._world.fail_together(self.folder.require_saved)
        if self._summary is None:
            return
        try:
            self._summary.end(how, **figures)
        except InputError as error:  # a full disk
            self.log.warn(str(error))
