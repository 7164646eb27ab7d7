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
<<<<<<< HEAD
from lisa.data.faces import EpochBatches
=======
from lisa.data.cache import open_faces
from lisa.data.faces import EpochBatches, collate_same_size, ignore_signals
>>>>>>> data-room
from lisa.data.pairs import Pair, check_pairs, find_pairs
from lisa.errors import InputError
from lisa.models import build, count_parameters, deployable
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
    log.starts_at(state.step)
    log.note(
        f"{config.model.name}: {count_parameters(network):,} parameters; {len(faces.train)} training and "
        f"{len(faces.val)} validation pictures; {world.size} x {world.device.type}; {folder}"
    )
    trainer = Trainer(config, world, state, faces.train, batches, faces.class_counts, log)
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
            _save_last(state, config, folder, world, log)
            if on_epoch is not None:
                on_epoch(record)
        if _out_of_patience(state, config) and state.epoch < train.epochs:
            log.note(f"no better val mIoU for {train.patience} epochs: stopping early")
        return Result(state.best, state.best_epoch, state.epoch, finished=True)
    finally:
        log.close()


<<<<<<< HEAD
def load_faces(config: Config, world: World) -> Faces:
    """Training and validation pairs, every file of which has been decoded once."""
    data = config.data
    train, val = world.agree(
        lambda: [find_pairs(data.root, split, data.label_order, data.exclude) for split in ("train", "val")]
    )
    counts = check_pairs(train, world.gather, world.rank, world.size)
    check_pairs(val, world.gather, world.rank, world.size)
    return Faces(train, val, torch.from_numpy(counts))
=======
class Trainer:
    """One rank's part of an epoch."""

    def __init__(
        self,
        config: Config,
        world: World,
        state: TrainState,
        pairs: list[Pair],
        batches: EpochBatches,
        log: RunLog,
    ) -> None:
        self.config, self.world, self.state, self.batches, self.log = config, world, state, batches, log
        self.loader = DataLoader(
            world.agree(lambda: open_faces(pairs, config.data.size, config.data.cache)),
            batch_sampler=batches,
            num_workers=config.data.workers,
            collate_fn=collate_same_size,
            worker_init_fn=ignore_signals,
            pin_memory=world.device.type == "cuda",
            persistent_workers=False,
        )
        self.normalise = FaceParser(nn.Identity(), config.data.size).to(world.device).normalise
        self.augment = Augmentation(config.augment).to(world.device)
        self.loss = SegmentationLoss(config.loss)
        self.bf16 = uses_bf16(config, world)
        self.network = world.wrap(state.network, config.train.batch_size // world.size)

    def train_epoch(self) -> bool:
        """Trains on the rest of the state's epoch; False if a stop was asked for before its end."""
        state, world = self.state, self.world
        self.network.train()
        self.batches.set_position(state.epoch, state.batch)
        # Summed on the device and read at log points only: no synchronisation per step.
        loss_sum = torch.tensor(self._own_loss_sum(), dtype=torch.float64, device=world.device)
        for images, masks in self.loader:
            loss = self.train_step(images, masks)
            state.batch += 1
            loss_sum += loss * len(images)
            if state.step % LOG_STEPS == 0:
                self.log.step(state.epoch + 1, state.step, loss.item(), self.learning_rate)
            if self.log.count(self._global_batch(state.batch - 1)):
                epochs, steps = self.config.train.epochs, self.batches.steps
                self.log.progress(state.epoch + 1, epochs, state.batch, steps, loss.item())
            if world.should_stop():
                break
        state.loss_sums = world.gather(loss_sum.item())
        return state.batch == self.batches.steps

    def train_step(self, images: Tensor, masks: Tensor) -> Tensor:
        """One optimizer step on this rank's share of a batch, uint8 from the loader; returns its loss."""
        state, world = self.state, self.world
        torch.manual_seed(step_seed(self.config.train.seed, state.step, world.rank))
        images = images.to(world.device, non_blocking=True)
        masks = masks.to(world.device, non_blocking=True)
        images, masks = self.augment(images, masks)
        state.schedule.before_step(state.step)
        with torch.autocast(world.device.type, torch.bfloat16, enabled=self.bf16):
            loss = self.loss(self.network(self.normalise(images)), masks)
        state.optimizer.zero_grad(set_to_none=True)
        # DDP averages over ranks; shares may differ by one picture, so each counts by its size.
        share = len(images) * world.size / self._global_batch(state.batch)
        (loss * share).backward()
        if self.config.optim.clip_norm > 0:
            nn.utils.clip_grad_norm_(state.network.parameters(), self.config.optim.clip_norm)
        state.optimizer.step()
        world.average_buffers(state.network)
        if state.ema is not None:
            state.ema.update(state.network, step=state.step)
        return loss.detach()

    def evaluate_epoch(self, pairs: list[Pair], train_seconds: float) -> dict[str, Any]:
        """The epoch's record: figures on the validation pictures, training loss, timing."""
        config, state, world = self.config, self.state, self.world
        started = time.monotonic()
        result = evaluate(
            state.evaluated, config.data.size, pairs, world, self.loss, config.data.workers, self.bf16
        )
        val_loss = result.losses.mean().item()
        state.schedule.after_epoch(val_loss)
        return {
            "epoch": state.epoch + 1,
            "step": state.step,
            "lr": self.learning_rate,
            "train_loss": sum(state.loss_sums) / self.batches.pictures,
            "loss": val_loss,
            **figures(result.tally),
            "timing": {"train_seconds": train_seconds, "eval_seconds": time.monotonic() - started},
        }

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return self.state.optimizer.param_groups[0]["lr"]

    def _global_batch(self, batch: int) -> int:
        """Pictures in this batch of an epoch over all ranks, as numpy.array_split shares them out."""
        pictures, steps = self.batches.pictures, self.batches.steps
        return pictures // steps + (batch < pictures % steps)

    def _own_loss_sum(self) -> float:
        """This rank's loss sum so far; rank 0 takes all of it after a change of the world's size."""
        sums = self.state.loss_sums
        if len(sums) == self.world.size:
            return sums[self.world.rank]
        return sum(sums) if self.world.is_main else 0.0
>>>>>>> data-room


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
