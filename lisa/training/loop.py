"""The training loop. It reads from top to bottom and knows its processes only through the World."""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.profiler import record_function

from lisa.config import Config
from lisa.config.limits import require_batch
from lisa.data.cache import open_faces
from lisa.data.epoch_batches import EpochBatches
from lisa.data.faces import collate_same_size
from lisa.data.loader import Loader
from lisa.data.pairs import Pair
from lisa.errors import DivergedError, InputError, StopAskedError
from lisa.evaluation.evaluate import evaluate_all
from lisa.evaluation.metrics import figures
from lisa.face_parser import FaceParser
from lisa.losses import SegmentationLoss
from lisa.run.run import Run
from lisa.training.lockstep import Order, propose, raise_first
from lisa.training.precision import arithmetic, settle_precision
from lisa.training.start import begin, load_faces
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.training.timing import Clock, Timing
from lisa.world import World, usable_device

GRID_SIDE = 128
"""Pixels of a picture's longer side in TensorBoard's grid."""

LOG_STEPS = 10

Batch = tuple[Tensor, Tensor]
"""Pictures (B,3,size,size) and masks (B,size,size), uint8."""


class Result(NamedTuple):
    """How a run ended: ``finished`` is False if it was asked to stop and can be resumed."""

    best_miou: float
    best_epoch: int
    epochs: int
    finished: bool


class TrainedEpoch(NamedTuple):
    """An epoch's training: the mean loss of its pictures over all ranks, and its speed."""

    loss: float
    timing: Timing


class EvaluatedEpoch(NamedTuple):
    """An evaluated epoch: its record for the logs, and the network that it speaks of."""

    record: dict[str, Any]
    network: nn.Module


def fit(
    config: Config,
    world: World | None = None,
    resume: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Trains the config's network on its data; leaves checkpoints, logs and a summary in its output folder.

    Every rank calls it with the same config, and with its ``world``; without one this process is alone, on
    the first GPU or else the CPU. ``on_epoch`` hears each epoch's figures on every rank.

    Raises:
        InputError: data, settings or a folder that can't be used, before the first step; or the last
            checkpoint found no room.
        DivergedError: no finite gradient any more.
    """
    if world is None:
        world = World(device=usable_device(None, otherwise="world=lisa.world.World(), the CPU"))
    run = Run(config, world, resume)
    require_batch(config.train.batch_size, world.world_size)
    run.refuse_another()  # before the pictures are read: workers started again meanwhile would resume it
    config, faces = load_faces(config, world)  # nothing is written before the data are known to be good
    config = settle_precision(config, world)
    with run, arithmetic(config.train, world.device):
        config, step, batches = begin(config, world, faces, run)
        state, train = step.state, config.train
        loader = training_loader(config, world, faces.train, batches)
        finished = True
        try:
            while state.epoch < train.epochs and not out_of_patience(state, config):
                trained = train_epoch(step, loader, batches, run)
                try:
                    scores = evaluate_epoch(step, faces.val, trained)
                except InputError:  # on all ranks together
                    run.save(state)
                    raise
                draw = partial(best_grid, scores.network, config.data.size, faces.val, world)
                run.end_epoch(state, scores.record, scores.network, draw)
                if on_epoch is not None:
                    on_epoch(scores.record)
        except StopAskedError:
            run.save(state)
            finished = False
        except DivergedError:
            run.save(state)  # the weights are those from before the skipped steps
            raise
        finally:
            loader.close()
        run.end("finished" if finished else "stopped", **summary_figures(state))
        if not finished:
            run.log.note(f"stopped at step {state.step}; go on with --resume")
        elif state.epoch < train.epochs:
            run.log.note(f"no better val mIoU for {train.patience} epochs: stopping early")
    return Result(state.best, state.best_epoch, state.epoch, finished)


def train_epoch(step: Step, loader: Loader[Batch], batches: EpochBatches, run: Run) -> TrainedEpoch:
    """Trains on the rest of the state's epoch.

    While a step computes, all ranks exchange one integer about what comes after it: go on, save, stop or
    fail. A rank fetches its next batch before, for one that has none would leave the others waiting in the
    next step's exchange of gradients.

    Raises:
        StopAskedError: a rank was asked to stop. Nothing is saved here.
        InputError: a rank met a picture that it can't read any more; the checkpoint is saved before.
        DivergedError: no finite gradient any more.
    """
    state, world, clock = step.state, step.world, Clock()
    step.wrapped.train()
    batches.set_position(state.epoch, state.batch)
    batch, fault = clock.fetch(lambda: fetch(loader))
    order = propose(world, fault, save_due=False)()
    while True:
        if order is Order.STOP:
            raise StopAskedError
        if order in (Order.SAVE, Order.FAIL):
            run.save(state)
        if order is Order.FAIL:
            raise_first(world, fault)
        if batch is None:
            break
        (images, masks), pictures = batch, batches.global_batch(state.batch)
        batch, fault = clock.fetch(lambda: fetch(loader))
        answer = propose(world, fault, run.save_due(state.step + 1))
        loss = step(images, masks, pictures)
        state.count_step(loss, len(images))
        clock.count(pictures, step.own_seconds)
        log_step(run, state, loss, pictures, step.config.train.epochs)
        order = answer()
    step.require_progress()  # of the last two steps too: here the host waits for the device
    losses = world.all_gather((state.loss_sum.item(), state.loss_pictures.item()))
    total, counted = (sum(each) for each in zip(*losses, strict=True))
    loss = total / counted if counted else math.nan
    timing = clock.stop(world)
    for warning in timing.warnings:
        run.log.warn(warning)
    return TrainedEpoch(loss, timing)


def fetch(loader: Loader[Batch]) -> tuple[Batch | None, InputError | None]:
    """The next batch, or why there is none: the epoch's end, a stop that this rank was asked for, a fault."""
    try:
        return loader.fetch(), None
    except StopAskedError:
        return None, None
    except InputError as error:
        return None, error


def evaluate_epoch(step: Step, pairs: list[Pair], trained: TrainedEpoch) -> EvaluatedEpoch:
    """The epoch's record, and the network that it speaks of: averaged or raw, the better one."""
    config, state, started = step.config, step.state, time.monotonic()
    networks = {"raw": state.network}
    if state.ema is not None:
        networks["ema"] = state.ema.module
    loss = SegmentationLoss(config.loss)
    results = evaluate_all(networks, config.data.size, pairs, step.world, loss, config.data.workers)
    records = {
        name: {
            "loss": result.losses.nanmean().item(),
            "exploded_pictures": result.exploded,
            **figures(result.tally),
        }
        for name, result in results.items()
    }
    learning_rate = state.learning_rate  # plateau sets the next epoch's now
    state.schedule.after_epoch(records["raw"]["loss"])
    better = max(records, key=lambda name: records[name]["miou"])
    record = {
        "epoch": state.epoch + 1,
        "step": state.step,
        "lr": learning_rate,
        "skipped_steps": int(state.skipped),
        "train_loss": trained.loss,
        "weights": better,
        "miou_by_weights": {name: record["miou"] for name, record in records.items()},
        **records[better],
        "timing": {
            "train_seconds": trained.timing.seconds,
            "eval_seconds": time.monotonic() - started,
            "images_per_second": trained.timing.images_per_second,
            "data_wait_share": trained.timing.data_wait_share,
        },
    }
    return EvaluatedEpoch(record, networks[better])


def log_step(run: Run, state: TrainState, loss: Tensor, pictures: int, epochs: int) -> None:
    """Reads the loss where it is due, every ten steps or two seconds: a wait for the device."""
    with record_function("logging"):
        if state.step % LOG_STEPS == 0 and run.log.active:
            run.log.step(state.epoch + 1, state.step, loss.item(), state.learning_rate)
        if run.log.count(pictures):
            run.log.progress(state.epoch + 1, epochs, state.batch, state.steps_per_epoch, loss.item())


def training_loader(config: Config, world: World, pairs: list[Pair], batches: EpochBatches) -> Loader[Batch]:
    """The training pictures' loader, whose processes live as long as the run."""
    # A host that comes later, with a disk of its own, builds a cache that the others have.
    faces = world.fail_together_patiently(lambda: open_faces(pairs, config.data.size, config.data.cache))
    return Loader(faces, batches, collate_same_size, config.data.workers, world, kept=True)


def best_grid(network: nn.Module, size: int, val: list[Pair], world: World) -> np.ndarray:
    """Six validation pictures as this network parses them, (H,W,3) uint8, for TensorBoard."""
    from lisa.figures.comparison import grid_sheet  # matplotlib: for the rank that draws

    parser = FaceParser.for_prediction(network, size, world.device)
    return np.asarray(grid_sheet(parser, val, GRID_SIDE).convert("RGB"))


def summary_figures(state: TrainState) -> dict[str, Any]:
    """What summary.json says of how far the run came; nothing is the best where no epoch has a figure."""
    known = state.best_epoch > 0
    best = {"miou": state.best if known else None, "epoch": state.best_epoch if known else None}
    return {"best": best, "epochs": state.epoch, "steps": state.step, "skipped_steps": int(state.skipped)}


def out_of_patience(state: TrainState, config: Config) -> bool:
    """Whether no epoch has been better for too long."""
    return state.best_epoch > 0 and state.epoch - state.best_epoch >= config.train.patience
