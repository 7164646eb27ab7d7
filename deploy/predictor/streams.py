"""Streams: threads that read, parse and write side by side."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch

from .errors import BadPictureError, DeviceLostError, first_line
from .files import Version, version_of
from .inputs import Job
from .machine import device_answers, is_out_of_memory, release_memory
from .model import ExportedModel
from .outputs import Writer
from .photos import Parsed, Photos, is_square
from .pictures import Pixels, from_frame, read_picture, to_frame
from .report import Outcome, Seconds

BATCH_PIXELS = 2**24
"""A batch of more than one picture holds no more: 50 MB decoded, some 600 MB on its device."""


class Taken(NamedTuple):
    """A picture that was read, and its file's version then."""

    job: Job
    picture: Pixels
    version: Version | None


@dataclass(frozen=True)
class Stream:
    """One worker: reads, parses and writes a batch, then takes the next.

    Streams of a device run side by side, so that decoding, encoding and what a photograph needs of the CPU
    hide behind the network. They share the model, which a GPU runs for one of them at a time.
    """

    model: ExportedModel
    writer: Writer
    threads: int
    fit: str
    max_pixels: int
    photos: Photos | None = None
    """Finds faces; None takes each picture as one frame."""

    def work(self, batches: Iterable[list[Job]], report: Callable[[Outcome], None]) -> Seconds:
        """Until ``batches`` ends. One outcome per job."""
        torch.set_num_threads(self.threads)  # OpenMP keeps this number per calling thread
        seconds = Seconds()
        for batch in batches:
            for outcome in self.parse(batch, seconds):
                report(outcome)
        return seconds

    def read(self, job: Job) -> Pixels:
        """Raises BadPictureError."""
        return read_picture(job.source, self.max_pixels)

    def version(self, job: Job) -> Version | None:
        """Of the picture's file; None if it is gone."""
        return version_of(job.source)

    def _write(self, taken: Taken, parsed: Parsed) -> None:
        """Raises OSError, and BadPictureError for a picture that is another one by now."""
        self.writer.write(taken.job, taken.picture, parsed)
        if self.version(taken.job) not in (None, taken.version):  # the map is newer, and would count as its
            self.writer.forget(taken.job)
            raise BadPictureError("was replaced while it was parsed: the same command does it anew")

    def parse(self, batch: list[Job], seconds: Seconds) -> Iterator[Outcome]:
        """One outcome per job; adds to ``seconds``."""
        by_size: dict[tuple[int, ...], list[Taken]] = {}
        held = 0
        for job in batch:
            version = self.version(job)
            try:
                with seconds.spent_on("decode"):
                    picture = self.read(job)
                side = max(picture.shape[:2])
                if self.fit == "pad" and side**2 > self.max_pixels:
                    raise BadPictureError(
                        f"padded to {side}x{side}, more than --max-pixels {self.max_pixels}"
                    )
                pixels = side**2 if self.fit == "pad" else picture.shape[0] * picture.shape[1]
            except BadPictureError as error:
                yield Outcome(job, str(error))
                continue
            if self.photos is not None:
                outcome = self._photo(self.photos, Taken(job, picture, version), seconds)
                if outcome is not None:
                    yield outcome
                    continue
            if held and held + pixels > BATCH_PIXELS:
                yield from self._groups(by_size, seconds)
                by_size, held = {}, 0
            by_size.setdefault(picture.shape, []).append(Taken(job, picture, version))
            held += pixels
        yield from self._groups(by_size, seconds)

    def _photo(self, photos: Photos, taken: Taken, seconds: Seconds) -> Outcome | None:
        """Does a whole photograph; None for a picture that is one frame."""
        job, picture, _ = taken
        try:
            with seconds.spent_on("network"):
                faces = photos.faces(job, picture)
                if faces is None:
                    return None
                parsed = photos.parse(picture, faces)
            with seconds.spent_on("encode"):
                self._write(taken, parsed)
            return Outcome(job, faces=len(faces), largest=parsed.largest)
        except BadPictureError as error:
            return Outcome(job, str(error))
        except (RuntimeError, MemoryError) as error:
            return Outcome(job, self._reason(error))
        except OSError as error:
            return Outcome(job, f"not written: {error.strerror or error}")

    def _groups(self, by_size: dict[tuple[int, ...], list[Taken]], seconds: Seconds) -> Iterator[Outcome]:
        for group in by_size.values():
            yield from self._group(group, seconds)

    def _group(self, group: list[Taken], seconds: Seconds) -> Iterator[Outcome]:
        """Pictures of one size."""
        try:
            frames = np.stack([to_frame(taken.picture, self.fit) for taken in group])
            with seconds.spent_on("network"):
                results = self.model(frames)
        except (RuntimeError, MemoryError) as error:
            results = self._reason(error)
        if isinstance(results, str):  # here, where no error holds the failed batch's memory any more
            yield from self._failed(group, results, seconds)
            return
        for index, taken in enumerate(group):
            job, picture, _ = taken
            labels = from_frame(results.labels[index], picture.shape, self.fit)
            try:
                with seconds.spent_on("encode"):
                    shares = None if results.probabilities is None else results.probabilities[index]
                    self._write(taken, Parsed(labels, shares))
                yield Outcome(job, oblong=not is_square(picture), largest=results.largest[index])
            except BadPictureError as error:
                yield Outcome(job, str(error))
            except (RuntimeError, MemoryError) as error:
                yield Outcome(job, self._reason(error))
            except OSError as error:
                yield Outcome(job, f"not written: {error.strerror or error}")

    def _reason(self, error: RuntimeError | MemoryError) -> str:
        """Why the network failed. Raises DeviceLostError if it will fail for all other pictures too."""
        if is_out_of_memory(error):
            return "network: out of memory"
        if not device_answers(self.model.device):
            raise DeviceLostError(first_line(error)) from None
        return f"network: {first_line(error)}"

    def _failed(self, group: list[Taken], reason: str, seconds: Seconds) -> Iterator[Outcome]:
        """Tries pictures one by one, for which there may be room."""
        if len(group) == 1:
            yield Outcome(group[0].job, reason)
            return
        release_memory(self.model.device)
        for taken in group:
            yield from self._group([taken], seconds)


class Batches:
    """Hands out lists of jobs to many threads; ``stop`` ends it early."""

    def __init__(self, jobs: list[Job], size: int) -> None:
        self._jobs = iter(jobs)
        self._size = size
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """No more batches; those handed out are finished."""
        self._stopped = True

    def __iter__(self) -> Iterator[list[Job]]:
        while True:
            with self._lock:
                count = 0 if self._stopped else self._size
                batch = [job for _, job in zip(range(count), self._jobs, strict=False)]
            if not batch:
                return
            yield batch


def run(streams: Sequence[Stream], batches: Batches, on_outcome: Callable[[Outcome], None]) -> Seconds:
    """Drives the streams; ``on_outcome`` is called in this thread. The sum of their seconds."""
    outcomes: queue.SimpleQueue[Outcome | Seconds | BaseException] = queue.SimpleQueue()

    def target(stream: Stream) -> None:
        try:
            outcomes.put(stream.work(batches, outcomes.put))
        except BaseException as error:  # handed to the main thread, which raises it
            batches.stop()
            outcomes.put(error)

    threads = [threading.Thread(target=target, args=(stream,), daemon=True) for stream in streams]
    for thread in threads:
        thread.start()
    total, running = Seconds(), len(streams)
    while running:
        item = outcomes.get()
        if isinstance(item, Outcome):
            on_outcome(item)
        elif isinstance(item, Seconds):
            running -= 1
            for part, value in asdict(item).items():
                setattr(total, part, getattr(total, part) + value)
        else:
            raise item
    for thread in threads:
        thread.join()  # it frees what its runtime gave it; the interpreter's end amid that is an abort
    return total
