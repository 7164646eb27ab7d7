"""Decoded pictures from worker processes: no wait for them is endless, and none of them outlives the run."""

import signal
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from torch.utils.data import DataLoader, Dataset

from lisa.data.faces import Face
from lisa.data.shared_memory import PREFETCH, ROOM, SHARED_MEMORY, free_bytes
from lisa.errors import InputError, plain
from lisa.world import World

T = TypeVar("T")


class Loader(Generic[T]):
    """The batches of a sampler, decoded by ``workers`` processes; 0 decodes in this one.

    ``collate`` makes a batch of faces. With ``kept`` the processes serve several passes, until ``close``.
    """

    def __init__(
        self,
        faces: Dataset[Face],
        batches: Iterable[list[int]],
        collate: Callable[[list[Face]], T],
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
            worker_init_fn=ignore_signals,
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
        try:
            if self._iterator is None:
                # Not interrupted: a stop between two forks would leave processes that nobody ends.
                self._iterator = iter(self.loader)
            with self.world.heeding_stop():
                batch = next(self._iterator, None)
        except InputError as error:
            raise InputError(f"{plain(error)}; repair or remove it") from None
        except RuntimeError as error:
            raise _explained(error, self.world.patience) from error
        if batch is None:
            self._iterator = None
        return batch

    def close(self) -> None:
        """Ends the processes: they ignore SIGTERM, and an exit by an error would wait for them for ever."""
        workers: Any = self.loader._iterator or self._iterator  # pyright: ignore[reportPrivateUsage]
        if self.loader.num_workers > 0 and workers is not None:
            workers._shutdown_workers()  # first: until then torch takes a worker's death for a fault
            for process in workers._workers:
                process.kill()  # one that hangs in a read
                process.join()


def ignore_signals(worker: int) -> None:
    """Worker processes outlive requests to stop: the training process finishes its step and ends them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def _explained(error: RuntimeError, patience: float) -> Exception:
    """A line for what DataLoader says of its workers; other errors as they are."""
    text = str(error)
    if "timed out" in text:
        return InputError(
            f"no pictures from the decoding processes for {patience:.0f} s ({SHARED_MEMORY} has "
            f"{free_bytes() / 2**20:.0f} MiB free): is the disk reachable? Try --data.workers 0, or a larger "
            "LISA_TIMEOUT"
        )
    if "DataLoader worker (pid" in text or "shared memory" in text:
        return InputError(
            f"a decoding process died ({text.splitlines()[0].strip()}): is there memory for it, and room in "
            f"{SHARED_MEMORY}? If not, {ROOM}, or decode in the training process: --data.workers 0"
        )
    return error
