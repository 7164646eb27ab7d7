"""The training loop. It reads from top to bottom and knows its processes only through the World."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lisa import checkpoint
from lisa.config import Config
from lisa.console import RunLog
from lisa.data.faces import EpochBatches
from lisa.data.pairs import Pair, check_pairs, find_pairs
from lisa.errors import InputError
from lisa.models import build, count_parameters, deployable
from lisa.pace import SLOW_LOADER
from lisa.state import TrainState
from lisa.trainer import Trainer
from lisa.world import World


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


def fit(
    config: Config,
    world: World,
    resume: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Trains the config's network on its data; leaves ``best.pt``, ``last.pt`` and logs in its output folder.

    Every rank calls it with the same config. ``on_epoch`` hears each epoch's figures on every rank. Raises
    InputError for data, settings or a folder that can't be used, before the first step, and DivergedError.
    """
    faces = load_faces(config, world)
    folder = world.agree(lambda: prepare_folder(config, world, resume))
    torch.manual_seed(config.train.seed)
    network = world.agree(lambda: build(config.model))
    network = network.to(world.device, memory_format=torch.channels_last)  # pyright: ignore
    train = config.train
    batches = EpochBatches(
        len(faces.train), train.batch_size, train.seed, world.rank, world.size, train.views
    )
    state = TrainState(network, config, batches.steps)
    if resume:
        world.agree(lambda: restore(state, config, folder))
    log = RunLog(folder, world.is_main, state.log_offset, state.step)
    log.note(
        f"{config.model.name}: {count_parameters(network):,} parameters; {len(faces.train)} training and "
        f"{len(faces.val)} validation pictures; {world.size} x {world.device.type}; {folder}"
    )
    trainer = Trainer(config, world, state, faces.train, batches, faces.class_counts, log)
    if train.auto_batch:
        trainer.fit_into_memory()
    try:
        while state.epoch < train.epochs and not _out_of_patience(state, config):
            started = time.monotonic()
            if not trainer.train_epoch():
                _save_last(state, config, folder, world, log)
                log.note(f"stopped at step {state.step}; go on with --resume")
                return Result(state.best, state.best_epoch, state.epoch, finished=False)
            record, evaluated = trainer.evaluate_epoch(faces.val, time.monotonic() - started)
            if record["miou"] > state.best:
                state.best, state.best_epoch = record["miou"], record["epoch"]
                _save_best(evaluated, config, record, folder, world)
            state.epoch, state.batch, state.loss_sums = state.epoch + 1, 0, []
            log.epoch(record, state.step)
            warn_of_slow_loader(record["timing"], log)
            _save_last(state, config, folder, world, log)
            if on_epoch is not None:
                on_epoch(record)
        if _out_of_patience(state, config) and state.epoch < train.epochs:
            log.note(f"no better val mIoU for {train.patience} epochs: stopping early")
        return Result(state.best, state.best_epoch, state.epoch, finished=True)
    finally:
        log.close()


def load_faces(config: Config, world: World) -> Faces:
    """Training and validation pairs, every file of which has been decoded once."""
    data = config.data
    train, val = world.agree(
        lambda: [find_pairs(data.root, split, data.label_order, data.exclude) for split in ("train", "val")]
    )
    counts = check_pairs(train, world.gather, world.rank, world.size)
    check_pairs(val, world.gather, world.rank, world.size)
    return Faces(train, val, torch.from_numpy(counts))


def prepare_folder(config: Config, world: World, resume: bool) -> Path:
    """Makes the run folder and writes its config.json. Refuses one that holds another run's checkpoints."""
    folder = Path(config.output)
    if not resume and (folder / "last.pt").exists():
        raise InputError(f"{folder} holds a run: go on with --resume, or choose another --output")
    if world.is_main:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(config.to_json() + "\n")
        except OSError as error:
            raise InputError(f"--output {folder} can't be written: {error.strerror}") from None
    return folder


def restore(state: TrainState, config: Config, folder: Path) -> None:
    """Puts ``last.pt`` into the state; a folder without one is a run that has not begun."""
    path = folder / "last.pt"
    if not path.exists():
        return
    saved = checkpoint.load(path)
    model = Config.from_dict(saved["config"]).model
    if model != config.model:
        raise InputError(f"{path}: trained {model}, the config says {config.model}")
    state.load_state_dict(saved["training"], str(path))


def warn_of_slow_loader(timing: dict[str, float], log: RunLog) -> None:
    """A line for the person at the terminal if the device waited for pictures."""
    share = timing["data_wait_share"]
    if share > SLOW_LOADER:
        log.note(
            f"[yellow]the loader held the device up for {share:.0%} of the epoch: "
            "raise --data.workers, or keep decoded pictures in --data.cache FOLDER"
        )


def _save_best(
    evaluated: nn.Module, config: Config, record: dict[str, Any], folder: Path, world: World
) -> None:
    if world.is_main:
        checkpoint.save(checkpoint.payload(evaluated.state_dict(), config, record), folder / "best.pt")


def _save_last(state: TrainState, config: Config, folder: Path, world: World, log: RunLog) -> None:
    state.log_offset = log.offset
    if world.is_main:
        weights = deployable(state.averaged).state_dict()
        saved = checkpoint.payload(weights, config, {"best_miou": state.best})
        checkpoint.save({**saved, "training": state.state_dict()}, folder / "last.pt")
    world.barrier()


def _out_of_patience(state: TrainState, config: Config) -> bool:
    return state.best_epoch > 0 and state.epoch - state.best_epoch >= config.train.patience
