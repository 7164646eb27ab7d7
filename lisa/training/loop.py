"""The training loop. It reads from top to bottom and knows its processes only through the World."""

import platform
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lisa.config import Config
from lisa.data.checking import check_pairs
from lisa.data.faces import EpochBatches
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair
from lisa.errors import DivergedError, InputError, StopAskedError
from lisa.face_parser import FaceParser
from lisa.models import build, count_parameters, deployable
from lisa.run import checkpoint
from lisa.run.folder import RunFolder
from lisa.run.log import RunLog
from lisa.run.rank_log import rank_log
from lisa.run.summary import Summary
from lisa.training.pace import SLOW_LOADER
from lisa.training.precision import settle_precision
from lisa.training.state import TrainState
from lisa.training.step import Trainer
from lisa.world import World

GRID_SIDE = 128
"""Pixels of a picture's longer side in TensorBoard's grid."""


class Result(NamedTuple):
    """How a run ended: ``finished`` is False if it was asked to stop and can be resumed."""

    best_miou: float
    best_epoch: int
    epochs: int
    finished: bool


class Faces(NamedTuple):
    """What a run reads: pairs, and the training masks' pixels per class, (C,) int64."""

    train: list[Pair]
    val: list[Pair]
    class_counts: Tensor
    notes: tuple[str, ...] = ()
    """How masks were read, where that is no matter of course."""


def fit(
    config: Config,
    world: World,
    resume: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Trains the config's network on its data; leaves checkpoints, logs and a summary in its output folder.

    Every rank calls it with the same config. ``on_epoch`` hears each epoch's figures on every rank.

    Raises:
        InputError: data, settings or a folder that can't be used, before the first step; or the last
            checkpoint found no room.
        DivergedError: no finite gradient any more.
    """
    run = RunFolder(config, world)
    # Before the pictures are read: workers that are started again meanwhile would take it for their own run.
    world.fail_together(lambda: run.refuse_another_run(resume))
    faces = load_faces(config, world)
    try:
        world.fail_together(lambda: run.open(resume))
        with rank_log(run.path, world) as stream:
            world.watch(stream)
            try:
                return _fit(config, world, faces, run, resume, on_epoch)
            finally:
                world.watch(None)
    finally:
        run.close()


def _fit(
    config: Config,
    world: World,
    faces: Faces,
    run: RunFolder,
    resume: bool,
    on_epoch: Callable[[dict[str, Any]], None] | None,
) -> Result:
    config = settle_precision(config, world)
    train = config.train
    torch.manual_seed(train.seed)
    going_on = resume and run.holds_run
    network, origin = world.fail_together(lambda: start_network(config, going_on))
    network = network.to(world.device, memory_format=torch.channels_last)  # pyright: ignore
    batches = EpochBatches(
        len(faces.train), train.batch_size, train.seed, world.rank, world.world_size, train.views
    )
    state = TrainState(network, config, batches.steps)
    changes = restore(state, run, world) if resume else []
    world.fail_together(run.write_config)
    state.begun_with = state.begun_with or world.world_size
    with closing(world.fail_together(lambda: open_log(run, world, state))) as log:
        summary = start_summary(config, world, run, state, resume)
        log.note(
            f"{config.model.name}: {count_parameters(network):,} parameters; {len(faces.train)} training and "
            f"{len(faces.val)} validation pictures; {world.world_size} x {world.device.type} in "
            f"{train.precision}; {run.path}"
        )
        if origin:
            log.note(f"{train.init}: {origin}")
        for line in (*faces.notes, *changes):
            log.warn(line)
        with closing(Trainer(config, world, state, faces.train, batches, faces.class_counts, log)) as trainer:
            try:
                _train(config, trainer, faces.val, run, on_epoch)
                world.fail_together(run.require_saved)
                finished = True
            except StopAskedError:
                trainer.save(run)
                world.fail_together(run.require_saved)
                log.note(f"stopped at step {state.step}; go on with --resume")
                finished = False
            except DivergedError:
                trainer.save(run)  # the weights are those from before the skipped steps
                raise
        end_summary(summary, state, log, finished)
    return Result(state.best, state.best_epoch, state.epoch, finished)


def _train(
    config: Config,
    trainer: Trainer,
    val: list[Pair],
    run: RunFolder,
    on_epoch: Callable[[dict[str, Any]], None] | None,
) -> None:
    """All epochs that are left, each with its evaluation and checkpoint."""
    train, state, log = config.train, trainer.state, trainer.log
    while state.epoch < train.epochs and not _out_of_patience(state, config):
        started = time.monotonic()
        trainer.train_epoch(run)
        record, evaluated = trainer.evaluate_epoch(val, time.monotonic() - started)
        if record["miou"] > state.best:
            state.best, state.best_epoch = record["miou"], record["epoch"]
            run.keep_best(evaluated, record)
        trainer.next_epoch()
        log.epoch(record, state.step)
        warn_of_slow_loader(record["timing"], log)
        if record["epoch"] == state.best_epoch and trainer.world.is_main:
            log.picture("val/best", best_grid(trainer, evaluated, val), state.step)
        trainer.save(run)
        if on_epoch is not None:
            on_epoch(record)
    if _out_of_patience(state, config) and state.epoch < train.epochs:
        log.note(f"no better val mIoU for {train.patience} epochs: stopping early")


def load_faces(config: Config, world: World) -> Faces:
    """Training and validation pairs, every file of which has been decoded once."""
    data = config.data
    train, val = world.fail_together(
        lambda: [
            find_pairs(data.root, split, data.label_order, data.exclude, data.val_share)
            for split in ("train", "val")
        ]
    )
    checked = check_pairs(train, world.all_gather, world.rank, world.world_size)
    also = check_pairs(val, world.all_gather, world.rank, world.world_size)
    notes = [f"train: {note}" for note in checked.notes] + [f"val: {note}" for note in also.notes]
    return Faces(train, val, torch.from_numpy(checked.class_counts), tuple(notes))


def start_network(config: Config, going_on: bool) -> tuple[nn.Module, str]:
    """The config's network, with the weights of train.init, and whose they are if no run of ours made them.

    A run that goes on has weights of its own.

    Raises:
        InputError: it is over the cap, or the checkpoint can't be read or is of another network.
    """
    network = build(config.model)
    if not config.train.init or going_on:
        return network, ""
    initial = checkpoint.load(config.train.init)
    checkpoint.load_weights(deployable(network), initial["weights"], config.train.init)
    return network, initial.get("origin", "")


def restore(state: TrainState, run: RunFolder, world: World) -> list[str]:
    """Goes on from the run's last checkpoint, the same on all ranks; returns what has changed since.

    Raises:
        InputError: there is none that fits, or ranks see different ones.
    """
    changes = world.fail_together(lambda: run.restore(state))
    steps = world.all_gather((state.step, world.place))
    behind = [f"{place}: step {step}" for step, place in steps if step != steps[0][0]]
    if behind:
        raise InputError(
            f"ranks read different checkpoints in {run.path} (rank 0: step {steps[0][0]}; "
            f"{'; '.join(behind)}): is it one folder that all hosts share?"
        )
    return changes


def open_log(run: RunFolder, world: World, state: TrainState) -> RunLog:
    """The run's log, from the state's position on. Raises InputError if it can't be written."""
    try:
        return RunLog(run.path, world.is_main, state.log_offset, state.step, purge_step(state))
    except OSError as error:
        raise InputError(f"--output {run.path} can't be written: {error.strerror}") from None


def purge_step(state: TrainState) -> int:
    """The first step of which TensorBoard may show nothing yet.

    Between the last step of an epoch and the next epoch the epoch's own figures, at this step, are to come.
    """
    return state.step + (state.batch == 0 < state.step)


def start_summary(
    config: Config, world: World, run: RunFolder, state: TrainState, resumed: bool
) -> Summary | None:
    """Writes summary.json on rank 0: all hosts are known."""
    hosts = world.all_gather(platform.node())
    return world.fail_together(
        lambda: Summary(run.path, config, hosts, state.step, resumed) if world.is_main else None
    )


def best_grid(trainer: Trainer, network: nn.Module, val: list[Pair]) -> np.ndarray:
    """Six validation pictures as this network parses them, (H,W,3) uint8, for TensorBoard."""
    from lisa.figures.comparison import grid_sheet  # matplotlib: for the rank that draws

    parser = FaceParser.for_prediction(network, trainer.config.data.size, trainer.world.device)
    return np.asarray(grid_sheet(parser, val, GRID_SIDE).convert("RGB"))


def end_summary(summary: Summary | None, state: TrainState, log: RunLog, finished: bool) -> None:
    """Completes summary.json with how the run ended."""
    if summary is None:
        return
    best = {"miou": state.best, "epoch": state.best_epoch}
    figures = {"best": best, "epochs": state.epoch, "steps": state.step, "skipped_steps": state.skipped}
    try:
        summary.end("finished" if finished else "stopped", **figures)
    except InputError as error:  # a full disk
        log.warn(str(error))


def warn_of_slow_loader(timing: dict[str, float], log: RunLog) -> None:
    """A line for the person at the terminal if the device waited for pictures."""
    share = timing["data_wait_share"]
    if share > SLOW_LOADER:
        log.warn(
            f"the loader held the device up for {share:.0%} of the epoch: "
            "raise --data.workers, or keep decoded pictures in --data.cache FOLDER"
        )


def _out_of_patience(state: TrainState, config: Config) -> bool:
    return state.best_epoch > 0 and state.epoch - state.best_epoch >= config.train.patience
