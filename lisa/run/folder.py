"""A run's folder, locked for one job, and its checkpoints: the last one, the one before, and the best."""

from pathlib import Path
from typing import IO, Any

from lisa.errors import InputError
from lisa.run import checkpoint
from lisa.run.names import BEST, CONFIG, LAST, LOG, PREVIOUS, SUMMARY
from lisa.system.files import make_folders, read_object
from lisa.system.lock import lock_folder

KEYS = {CONFIG: {"model", "data", "train"}, SUMMARY: {"config", "starts"}}
"""The files that a run writes over as it begins, and keys by which its own are known."""


class RunFolder:
    """``path`` and the checkpoints there: rank 0 writes, every rank reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._best: memoryview | None = None
        self._last_is_good = True
        self._unsaved = False

    def open(self, resume: bool) -> None:
        """Makes the folder and locks it.

        Raises:
            InputError: it can't be written, another job trains into it, or it holds another run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path)
            make_folders([self.path])  # nobody else writes here now: clears what a killed run left
        except OSError as error:
            raise InputError(f"--output {self.path} can't be written: {error.strerror}") from None
        self.refuse_another_run(resume)

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            self._lock.close()

    def refuse_another_run(self, resume: bool) -> None:
        """Raises InputError where a new run would write over one, or over what is left of one."""
        try:
            holds_run = self.holds_run
            if not resume and (holds_run or (self.path / BEST).exists()):
                raise InputError(f"{self.path} holds a run: go on with --resume, or choose another --output")
            if not holds_run:
                self._refuse_losses(resume)
        except OSError as error:  # a folder on the way that may not be entered
            raise InputError(f"--output {self.path} can't be read: {error.strerror}") from None

    def _refuse_losses(self, resume: bool) -> None:
        """Raises InputError for files that a run without a checkpoint would write over.

        What a run leaves that died before its first checkpoint may go.
        """
        for name, keys in KEYS.items():
            path = self.path / name
            if path.exists() and not keys <= read_object(path).keys():
                raise InputError(f"{path} is there, and no run left it so: choose another --output")
        log = self.path / LOG
        if not resume and log.exists() and b'"event": "epoch"' in log.read_bytes():
            raise InputError(
                f"{log} is of a run whose checkpoints are gone: choose another --output, or --resume to "
                "write over it"
            )

    @property
    def holds_run(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return (self.path / LAST).exists() or (self.path / PREVIOUS).exists()

    def load_last(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The last checkpoint, or the one before where that can't be read; and what the user should hear.

        None in a folder without one, which is a run that has not begun.

        Raises:
            InputError: neither can be read, or it is of another version.
        """
        if not self.holds_run:
            return None, []
        try:
            saved = checkpoint.load(self.path / LAST)
            if "training" not in saved:
                raise InputError(
                    f"{self.path / LAST} holds weights, and no run to go on with: begin one with --init"
                )
            return saved, []
        except checkpoint.DamagedError as error:
            if not (self.path / PREVIOUS).exists():
                raise
            try:
                saved = checkpoint.load(self.path / PREVIOUS)
            except checkpoint.DamagedError as second:
                raise InputError(
                    f"no checkpoint of this run can be read: {error}; {second}; choose another --output"
                ) from None
            self._last_is_good = False
            return saved, [f"{error}; going on from the checkpoint before it, {PREVIOUS}"]

    def keep_best(self, content: dict[str, Any]) -> None:
        """Takes a payload, as it is now, for best.pt: save_last writes it, once the disk has room."""
        self._best = checkpoint.pack(content)

    def save_last(self, content: dict[str, Any]) -> str | None:
        """Writes last.pt, and best.pt if there is a new one; the last.pt before stays as previous.pt.

        If the disk is full, keeps the earlier checkpoints and returns why.
        """
        try:
            if self._best is not None:  # first: a last.pt that knows of it must not come without it
                checkpoint.write(self._best, self.path / BEST)
                self._best = None
            former = self.path / PREVIOUS if self._last_is_good else None
            checkpoint.write(checkpoint.pack(content), self.path / LAST, former)
        except OSError as error:
            self._unsaved = True
            return error.strerror or str(error)
        self._last_is_good, self._unsaved = True, False
        return None

    def require_saved(self) -> None:
        """Raises InputError where the latest checkpoint could not be written: no run may end like that."""
        if self._unsaved:
            raise InputError(
                f"{self.path} has no room for the last checkpoint: make room, then go on with --resume, "
                "from the one before it"
            )
