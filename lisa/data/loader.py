"""Decoded pictures from worker processes: no wait for them is endless, and none of them outlives the run."""

import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from lisa.data.faces import DecodedFace
from lisa.data.shared_memory import PREFETCH, ROOM, SHARED_MEMORY, free_bytes
from lisa.errors import InputError, StopAskedError, plain
from lisa.world import World

T = TypeVar("T")


class Loader(Generic[T]):
    """The batches of a sampler, decoded by ``workers`` processes; 0 decodes in this one.

    ``collate`` makes a batch of faces. With ``kept`` the processes serve several passes, until ``close``.
    """

    def __init__(
        self,
        faces: Dataset[DecodedFace],
        batches: Iterable[list[int]],
        collate: Callable[[list[DecodedFace]], T],
        workers: int,
        world: World,
        kept: bool = False,
    ) -> None:
        self.world = world
        self.loader: DataLoader[Any] = DataLoader(
            faces,
            batch_sampler=batches,  # pyright: ignore[reportArgumentType]
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=begin_worker,
            pin_memory=world.device.type == "cuda",
            persistent_workers=kept and workers > 0,
            prefetch_factor=PREFETCH if workers > 0 else None,
            timeout=world.patience if workers > 0 else 0,
        )
        self._iterator: Any = None

    def fetch(self) -> T | None:
        """The pass's next batch; None after the last one, and the next call begins another pass.

        Raises:
            StopAskedError: this rank was asked to stop; other ranks may not know yet.
            InputError: a picture can't be read, or no batch comes.
        """
        if self.world.stop_asked:
            raise StopAskedError
        try:
            with self._heeding_deaths():
                if self._iterator is None:
                    # Not interrupted: a stop between two forks would leave processes that nobody ends.
                    self._iterator = iter(self.loader)
                    self._take_watch_over()
                with self.world.heeding_stop():
                    batch = next(self._iterator, None)
        except InputError as error:
            raise InputError(f"{plain(error)}; repair or remove it") from None
        except RuntimeError as error:
            raise self._explained(error) from error
        if batch is None:
            self._iterator = None
        return batch

    def close(self) -> None:
        """Ends the processes: they ignore SIGTERM, and an exit by an error would wait for them for ever."""
        if (workers := self._workers()) is not None:
            workers._shutdown_workers()
            for process in workers._workers:
                process.kill()  # one that hangs in a read
                process.join()

    def _workers(self) -> Any:
        """DataLoader's iterator, which holds the processes; None if there are none."""
        if self.loader.num_workers == 0:
            return None
        kept = self.loader._iterator  # pyright: ignore[reportPrivateUsage]
        return self._iterator if kept is None else kept  # one that has no batch to come is false

    def _take_watch_over(self) -> None:
        """Makes torch forget the processes: from here on :meth:`_heeding_deaths` watches them.

        Torch raises RuntimeError wherever this process is when one dies: in a step, in a checkpoint.
        """
        workers = self._workers()
        if workers is not None and workers._worker_pids_set:
            signal_handling._remove_worker_pids(id(workers))  # pyright: ignore[reportPrivateUsage]
            workers._worker_pids_set = False
            self._require_alive()

    @contextmanager
    def _heeding_deaths(self) -> Generator[None]:
        """A process that has died, or dies inside, raises RuntimeError: its batch would never come."""
        if self.loader.num_workers == 0 or threading.current_thread() is not threading.main_thread():
            self._require_alive()
            yield  # only the main thread may handle signals; in another one the timeout tells
            return

        def handle(number: int, frame: FrameType | None) -> None:
            self._require_alive()
            if callable(before):
                before(number, frame)

        before = signal.signal(signal.SIGCHLD, handle)
        try:
            self._require_alive()  # one that died before the handler stood
            yield
        finally:
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)  # None: not set by Python

    def _require_alive(self) -> None:
        """Raises RuntimeError, as torch would, if a process has died."""
        if how := self._death():
            raise RuntimeError(how)

    def _death(self) -> str:
        """Which process has died, and how; nothing if none has."""
        workers = self._workers()
        for process in () if workers is None else workers._workers:
            code = process.exitcode
            if code not in (None, 0):
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                return f"process {process.pid}: {how}"
        return ""

    def _explained(self, error: RuntimeError) -> Exception:
        """A line for what DataLoader says of its processes; other errors as they are."""
        text = str(error)
        if (how := self._death()) or "DataLoader worker (pid" in text or "shared memory" in text:
            return InputError(
                f"a decoding process died ({how or text.splitlines()[0].strip()}): is there memory for it, "
                f"and room in {SHARED_MEMORY}? If not, {ROOM}, or decode in the training process: "
                "--data.workers 0"
            )
        if "timed out" in text:
            return InputError(
                f"no pictures from the decoding processes for {self.world.patience:.0f} s "
                f"({SHARED_MEMORY} has {free_bytes() / 2**20:.0f} MiB free): is the disk reachable? Try "
                "--data.workers 0, or a larger LISA_TIMEOUT"
            )
        return error


def begin_worker(worker: int) -> None:
    """Worker processes outlive requests to stop: the training process finishes its step and ends them.

    Then one may be handing over a picture to a process that has gone. That is no fault and not told: Python's
    thread that hands over would print a traceback. Other errors go to the training process, which tells them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    tell = sys.excepthook

    def tell_others(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, (ConnectionError, EOFError)):
            tell(kind, error, trace)

    sys.excepthook = tell_others
