"""What a person and the log files see of a run: progress lines, a table per epoch, JSONL, TensorBoard."""

import json
import logging
import math
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lisa.evaluation.table import class_table
from lisa.run.names import LOG
from lisa.run.tensorboard import Events
from lisa.system.console import console

PROGRESS_SECONDS = 2.0

logger = logging.getLogger(__name__)


class RunLog:
    """Writes ``metrics.jsonl`` and TensorBoard events and prints progress, on rank 0 alone.

    ``metrics.jsonl`` holds nothing that depends on the clock but the key ``timing``, so that the logs of two
    equal runs can be compared. ``offset`` is the file's length: a resumed run cuts off what a killed one
    wrote after its last checkpoint; TensorBoard hides it (``purge_step``). ``step`` is where the run begins:
    ETAs count from it. A disk that is full costs lines for a while, never the run.
    """

    def __init__(
        self,
        folder: Path,
        active: bool,
        offset: int = 0,
        step: int = 0,
        purge_step: int | None = None,
    ) -> None:
        self.active = active
        self._first_step = step
        if not active:
            return
        path = folder / LOG
        self._file = path.open("ab", buffering=0)
        # A power cut, or a disk that was full, leaves half a line of what the checkpoint knows.
        whole = min(offset, path.read_bytes().rfind(b"\n") + 1)
        if self._file.tell() > whole:
            self._file.truncate(whole)
            self._file.seek(0, os.SEEK_END)  # tell() would still name the former end
        self._unwritten = b""
        self._events: Events | None = Events(folder / "tensorboard", purge_step)
        self._started = self._printed = time.monotonic()
        self._pictures = self._pictures_at_print = 0

    @property
    def offset(self) -> int:
        """Bytes of the log so far."""
        return self._file.tell() + len(self._unwritten) if self.active else 0

    def note(self, message: str) -> None:
        """A line for the person at the terminal, and for rank 0's log."""
        if self.active:
            logger.info("%s", message)
            console.print(message, highlight=False, soft_wrap=True, markup=False)

    def warn(self, message: str) -> None:
        """A note that should be seen."""
        if self.active:
            logger.warning("%s", message)
            console.print(
                f"warning: {message}", style="yellow", highlight=False, soft_wrap=True, markup=False
            )

    def count(self, pictures: int) -> bool:
        """Counts a step's pictures (over all ranks); True when a progress line is due."""
        if not self.active:
            return False
        self._pictures += pictures
        return time.monotonic() - self._printed >= PROGRESS_SECONDS

    def progress(self, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Prints the line: epoch, step, loss, images/s since the last line, time to the end of all epochs."""
        now = time.monotonic()
        rate = (self._pictures - self._pictures_at_print) / (now - self._printed)
        self._printed, self._pictures_at_print = now, self._pictures
        done = (epoch - 1) * steps + step
        eta = (now - self._started) * (epochs * steps - done) / max(1, done - self._first_step)
        console.print(
            f"epoch {epoch}/{epochs}  step {step}/{steps}  loss {loss:.4f}  "
            f"{rate:.1f} images/s  ETA {timedelta(seconds=round(eta))}",
            highlight=False,
        )

    def step(self, epoch: int, step: int, loss: float, lr: float) -> None:
        """Logs a training step; ``step`` counts over the whole run, from 1.

        TensorBoard shows the loss at the steps that its weights had taken, one fewer: what stands at ``step``
        itself is the epoch's, and a run resumed between the two hides that alone.
        """
        self._write({"event": "step", "epoch": epoch, "step": step, "loss": _finite(loss), "lr": lr})
        self._scalars({"train/loss": loss, "train/lr": lr}, step - 1)

    def epoch(self, record: dict[str, Any], step: int) -> None:
        """Logs an epoch's figures and prints its table."""
        if not self.active:
            return
        losses = {name: _finite(record[name]) for name in ("train_loss", "loss")}
        self._write({"event": "epoch", **record, **losses})
        timing = record["timing"]
        scalars = {f"val/{key}": record[key] for key in ("loss", "miou", "mean_f1", "report_f1")}
        scalars |= {f"iou/{name}": value for name, value in record["iou"].items() if value is not None}
        scalars |= {f"speed/{key}": timing[key] for key in ("images_per_second", "data_wait_share")}
        self._scalars({**scalars, "train/epoch_loss": record["train_loss"]}, step)
        rate, share = timing["images_per_second"], timing["data_wait_share"]
        title = f"epoch {record['epoch']}: {rate:.1f} images/s, {share:.0%} waiting for pictures"
        console.print(class_table(record, title))
        self._printed = time.monotonic()
        self._pictures_at_print = self._pictures

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """A picture for TensorBoard, (H,W,3) uint8."""
        self._to_events(lambda events: events.picture(tag, pixels, step))

    def flush(self) -> None:
        """Writes what is buffered."""
        if self.active:
            self._write_out()
        self._to_events(lambda events: events.flush())

    def close(self) -> None:
        """Flushes and closes the files."""
        if self.active:
            self._write_out()
            self._file.close()
            self._to_events(lambda events: events.close())

    def _write(self, record: dict[str, Any]) -> None:
        if self.active:
            self._unwritten += json.dumps(record).encode() + b"\n"
            self._write_out()

    def _write_out(self) -> None:
        """Writes the lines that are waiting; on a full disk they wait for the next time."""
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
        except OSError as error:
            self.warn(f"{LOG} can't be written for now: {error.strerror}")

    def _scalars(self, scalars: dict[str, float], step: int) -> None:
        self._to_events(lambda events: events.scalars(scalars, step))

    def _to_events(self, action: Callable[[Events], None]) -> None:
        """Does it, where there is a TensorBoard; after a write error there is none any more."""
        if not self.active or self._events is None:
            return
        try:
            action(self._events)
        except OSError as error:
            self._events = None  # its writing thread is dead
            self.warn(f"no more TensorBoard events: {error.strerror}; {LOG} goes on")


def _finite(loss: float) -> float | None:
    """None for NaN and infinity: JSON has neither."""
    return loss if math.isfinite(loss) else None
