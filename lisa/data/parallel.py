"""Work spread over processes, with a progress bar that knows when it will be done."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lisa.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")

CHUNKS_PER_WORKER = 16


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """A killed parent can't stop its workers, and they would wait for it forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # Slurm may send it to every process of a job
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in workers only"
    if not parent.is_alive():  # killed while this process imported; jobs still lie in the queue
        os._exit(1)

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def parallel_map(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    description: str,
    workers: int | None = None,
) -> Iterator[Result]:
    """Results of ``function`` in the order of ``jobs``, under a progress bar on stderr.

    Workers are spawned: a fork would copy the progress bar's thread and torch's in an unknown state.
    ``function`` and jobs must pickle. One worker (or one job) runs in this process.

    Raises:
        InputError: fewer workers than one.
        Exception: the first one that ``function`` raised; jobs that haven't started are dropped.
    """
    if workers is not None and workers < 1:
        raise InputError(f"--workers {workers}: 1 or more, or leave it out for one on each core")
    workers = min(workers or available_cores(), max(1, len(jobs)))
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"), TextColumn("eta"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=len(jobs), speed="")

        def counted(results: Iterator[Result]) -> Iterator[Result]:
            for result in results:
                speed = progress.tasks[task].finished_speed or progress.tasks[task].speed
                progress.update(task, advance=1, speed=f"{speed:.0f}/s" if speed else "")
                yield result

        if workers == 1:
            yield from counted(map(function, jobs))
            return
        context = multiprocessing.get_context("spawn")
        chunk = max(1, min(32, len(jobs) // (workers * CHUNKS_PER_WORKER)))
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
            try:
                yield from counted(pool.map(function, jobs, chunksize=chunk))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
