"""What search and ablate share on their command lines."""

import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import tyro

from lisa.config import Config
from lisa.config.command_line import Switch
from lisa.config.from_plain import FORMER, GONE, off_and_gone
from lisa.config.limits import Limited, Range
from lisa.data.folders import find_pairs
from lisa.errors import ExitCode, InputError, one_line_errors
from lisa.system.claimed_folder import claim_folder, read_recipe, require_same_recipe
from lisa.system.lock import LOCK, lock_folder
from lisa.weights import DRAWN
from tune.storage import absolute, file_system, is_url

MARKER = "search.json"
"""The file in the results folder that holds the search's settings."""


@dataclass(frozen=True)
class Options(Limited):
    """Where and on what the trials run."""

    resume: Switch = False
    """Go on with the trials in --output: finished ones stay, the others go on from their last epoch."""
    address: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = ""
    """A running Ray cluster (also RAY_ADDRESS); without one, Ray is started on this machine."""
    gpus_per_trial: Annotated[float | None, Range(0), tyro.conf.arg(metavar="N")] = None
    """GPUs of a trial: below 1 trials share one, above 1 a trial is a torchrun job of so many processes.
    Without it 1 where there are GPUs, else 0."""
    processes_per_trial: Annotated[int | None, Range(1), tyro.conf.arg(metavar="N")] = None
    """Processes of a trial on CPUs; above 1 it is a torchrun job."""
    threads: Annotated[int, Range(1)] = 1
    """Threads, and CPUs, of each process."""

    def __post_init__(self) -> None:
        super().__post_init__()
        gpus = self.gpus_per_trial
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise InputError(f"--gpus-per-trial {gpus}: a part of one GPU, or a whole number of them")
        if self.processes_per_trial is not None and gpus:
            raise InputError(
                f"--processes-per-trial {self.processes_per_trial}: for CPUs alone; a trial on GPUs has a "
                "process on each"
            )

    @property
    def cluster(self) -> str:
        """The address from the command line or the environment; empty for this machine."""
        return self.address or os.environ.get("RAY_ADDRESS", "")

    def gpus(self, available: float) -> float:
        """GPUs of a trial."""
        if self.processes_per_trial is not None:
            return 0
        return float(available > 0) if self.gpus_per_trial is None else self.gpus_per_trial

    def processes(self, gpus: float) -> int:
        """Processes of a trial."""
        return max(1, int(gpus)) if self.processes_per_trial is None else self.processes_per_trial


def run_entry(main: Callable[[], int]) -> NoReturn:
    """Runs an entry's main and ends with its code.

    Bad input is one line, and so are Ctrl-C and SIGTERM before the trials.
    """
    heed_sigterm()
    with one_line_errors():
        try:
            raise SystemExit(main())
        except KeyboardInterrupt:
            print("stopped: the same command with --resume goes on", file=sys.stderr)
            raise SystemExit(ExitCode.STOPPED) from None


def heed_sigterm() -> None:
    """From now on SIGTERM does what Ctrl-C does, Ray's way of it while trials run."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)  # none where a shell put us into the background
    (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)


def settle(config: Config) -> Config:
    """The config with places as every worker sees them. Raises InputError for data that is not there."""
    root = absolute(config.data.root)
    if is_url(root):
        files, path = file_system(root)
        if not files.exists(path):
            raise InputError(f"--data {root}: nothing is there")
    else:
        for split in ("train", "val"):
            find_pairs(root, split, config.encoding, config.data.exclude, config.data.val_share)
    names = ("exclude", "repair", "cache")
    places = {name: absolute(path) if (path := getattr(config.data, name)) else "" for name in names}
    data = replace(config.data, root=root, **places)
    train = config.train
    if train.init and train.init != DRAWN:
        train = replace(train, init=absolute(train.init))
        if not Path(train.init).is_file():
            raise InputError(f"--init {train.init}: no such file")
    return replace(config, data=data, train=train, output=absolute(config.output))


def upgrade(recipe: Mapping[str, object], begun: Mapping[str, Any]) -> dict[str, Any]:
    """What a search was begun with, in today's names: so it goes on under a version with other options.

    An option that an older version did not know had its default. Raises InputError for one that was on and
    is removed: its trials can't go on.
    """
    gone = {name: value for name, value in begun.items() if name in GONE and not off_and_gone(name, value)}
    if gone:
        told = ", ".join(f"{name} = {value}" for name, value in gone.items())
        raise InputError(
            f"the search was begun with {told}, which this version has not: choose another --output"
        )
    renamed = {old: f"{old.partition('.')[0]}.{new}" for old, new in FORMER.items()}
    begun = {name: value for name, value in begun.items() if name not in GONE}
    unknown = {name: value for name, value in Config().by_name().items() if name in recipe}
    return {**unknown, **{renamed.get(name, name): value for name, value in begun.items()}}


@contextmanager
def claim(results: str, recipe: dict[str, object], resume: bool) -> Generator[None]:
    """Makes the results folder ours and, where it has a lock, nobody else's until the end.

    Bad input that is found before the first trial leaves the folder as it was.

    Raises InputError if it holds something else, needs --resume, or another process searches there.
    """
    if is_url(results):
        files, root = file_system(results)
        begun = files.exists(f"{root}/{MARKER}")
    else:
        begun = (Path(results) / MARKER).exists()
    if begun and not resume:
        raise InputError(f"{results} holds a search: go on with --resume, or choose another --output")
    if not is_url(results):
        folder = Path(results)
        claim_folder(folder, MARKER, recipe, partial(upgrade, recipe))
        with lock_folder(folder):
            try:
                yield
            except InputError:
                if {item.name for item in folder.iterdir()} == {MARKER, LOCK}:  # no trial has begun
                    (folder / MARKER).unlink()
                    (folder / LOCK).unlink()
                raise
        return
    files, root = file_system(results)
    files.makedirs(root, exist_ok=True)
    if begun:
        before = read_recipe(partial(files.cat_file, f"{root}/{MARKER}"), results, MARKER)
        require_same_recipe(results, upgrade(recipe, before), recipe)
    files.pipe_file(f"{root}/{MARKER}", json.dumps(recipe, indent=1, sort_keys=True).encode())
    try:
        yield
    except InputError:
        if not begun:
            files.rm_file(f"{root}/{MARKER}")
        raise
