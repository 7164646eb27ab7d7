"""Streams: threads that read, parse and write side by side, and the report of what they did."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from .errors import BadPictureError, DeviceLostError, first_line
from .inputs import Job
from .machine import device_answers, is_out_of_memory, release_memory
from .model import ExportedModel
from .outputs import Writer
from .pictures import Pixels, from_frame, read_picture, to_frame

BATCH_PIXELS = 2**24
"""A batch of more than one picture holds no more: 50 MB decoded, some 600 MB on its device."""


@dataclass
class Outcome:
    """What became of one picture; ``reason`` is empty if all went well."""

    job: Job
    reason: str = ""


@dataclass
class Seconds:
    """Where a stream's time went."""

    decode: float = 0.0
    network: float = 0.0
    encode: float = 0.0

    @contextlib.contextmanager
    def spent_on(self, part: str) -> Generator[None]:
        """Adds the time inside the block to ``part``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)


@dataclass
class Report:
    """What the closing summary and report.json say."""

    total: int = 0
    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    split: Seconds = field(default_factory=Seconds)
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """Pictures per second of this run, without loading."""
        return self.done / self.seconds if self.seconds else 0.0

    def content(self) -> dict[str, Any]:
        """As in report.json."""
        return {**asdict(self), "pictures_per_second": self.rate}


@dataclass(frozen=True)
class Stream:
    """One worker: reads, parses and writes a batch, then takes the next.

    Streams of a device run side by side, so that decoding and encoding hide behind the network. On a GPU
    ``turn`` lets one of them at a time onto the device; on the CPU each has its own threads.
    """

    model: ExportedModel
    writer: Writer
    turn: contextlib.AbstractContextManager[Any]
    threads: int
    fit: str
    max_pixels: int

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

    def parse(self, batch: list[Job], seconds: Seconds) -> Iterator[Outcome]:
        """One outcome per job; adds to ``seconds``."""
        by_size: dict[tuple[int, ...], list[tuple[Job, Pixels]]] = {}
        held = 0
        for job in batch:
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
            if held and held + pixels > BATCH_PIXELS:
                yield from self._groups(by_size, seconds)
                by_size, held = {}, 0
            by_size.setdefault(picture.shape, []).append((job, picture))
            held += pixels
        yield from self._groups(by_size, seconds)

    def _groups(
        self, by_size: dict[tuple[int, ...], list[tuple[Job, Pixels]]], seconds: Seconds
    ) -> Iterator[Outcome]:
        for group in by_size.values():
            yield from self._group(group, seconds)

    def _group(self, group: list[tuple[Job, Pixels]], seconds: Seconds) -> Iterator[Outcome]:
        """Pictures of one size."""
        try:
            frames = np.stack([to_frame(picture, self.fit) for _, picture in group])
            with self.turn, seconds.spent_on("network"):
                results = self.model(frames)
        except (RuntimeError, MemoryError) as error:
            results = self._reason(error)
        if isinstance(results, str):  # here, where no error holds the failed batch's memory any more
            yield from self._failed(group, results, seconds)
            return
        maps, probabilities = results
        for index, (job, picture) in enumerate(group):
            labels = from_frame(maps[index], picture.shape, self.fit)
            try:
                with seconds.spent_on("encode"):
                    self.writer.write(
                        job, picture, labels, None if probabilities is None else probabilities[index]
                    )
                yield Outcome(job)
            except OSError as error:
                yield Outcome(job, f"not written: {error.strerror or error}")

    def _reason(self, error: RuntimeError | MemoryError) -> str:
        """Why the network failed. Raises DeviceLostError if it will fail for all other pictures too."""
        if is_out_of_memory(error):
            return "network: out of memory"
        if not device_answers(self.model.device):
            raise DeviceLostError(f"{first_line(error)}; the same command goes on from here") from None
        return f"network: {first_line(error)}"

    def _failed(self, group: list[tuple[Job, Pixels]], reason: str, seconds: Seconds) -> Iterator[Outcome]:
        """Tries pictures one by one, for which there may be room."""
        if len(group) == 1:
            yield Outcome(group[0][0], reason)
            return
        release_memory(self.model.device)
        for pair in group:
            yield from self._group([pair], seconds)


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

    for stream in streams:
        threading.Thread(target=target, args=(stream,), daemon=True).start()
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
    return total
