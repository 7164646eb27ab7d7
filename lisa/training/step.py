"""One rank's part of an epoch: batches, steps, and what is evaluated after them."""

import logging
import time
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.data import DataLoader

from lisa.augment.augmentation import Augmentation
from lisa.augment.mixing import Mixing, Target
from lisa.config import Config
from lisa.data.cache import open_faces
from lisa.data.faces import EpochBatches, collate_same_size, ignore_signals
from lisa.data.pairs import Pair
from lisa.errors import DivergedError
from lisa.evaluation.evaluate import evaluate
from lisa.evaluation.metrics import figures
from lisa.face_parser import FaceParser
from lisa.labels import NUM_CLASSES
from lisa.losses import SegmentationLoss, class_weights
from lisa.models import deployable
from lisa.models.recompute import recompute_blocks
from lisa.run.folder import RunFolder, parts_of_batch
from lisa.run.log import RunLog
from lisa.training.accumulation import Logits, as_list, cached_gradients, put_back
from lisa.training.lockstep import in_lockstep
from lisa.training.memory import fitting_parts
from lisa.training.pace import Pace
from lisa.training.state import TrainState, step_seed
from lisa.training.stragglers import OwnTime, name_stragglers
from lisa.world import World

logger = logging.getLogger(__name__)

LOG_STEPS = 10

PARTS = ("copy", "augmentation", "forward", "backward", "optimizer", "buffers", "ema", "logging")
"""What a step's parts are called in a profile; the wait for pictures is torch's "enumerate(DataLoader)"."""

MAX_SKIPPED = 10
"""So many steps in a row without a finite gradient stop the run."""


class Trainer:
    """Trains and evaluates the state's network, an epoch at a time."""

    def __init__(
        self,
        config: Config,
        world: World,
        state: TrainState,
        pairs: list[Pair],
        batches: EpochBatches,
        class_counts: Tensor,
        log: RunLog,
    ) -> None:
        self.config, self.world, self.state, self.batches, self.log = config, world, state, batches, log
        self.loader = DataLoader(
            world.fail_together(lambda: open_faces(pairs, config.data.size, config.data.cache)),
            batch_sampler=batches,
            num_workers=config.data.workers,
            collate_fn=collate_same_size,
            worker_init_fn=ignore_signals,
            pin_memory=world.device.type == "cuda",
            persistent_workers=config.data.workers > 0,
        )
        self.normalise = FaceParser(nn.Identity(), config.data.size).to(world.device).normalise
        self.augment = Augmentation(config.augment, config.data.size).to(world.device)
        self.mix = Mixing(config.augment).to(world.device)
        weights = class_weights(class_counts, config.loss.class_balance)
        self.loss = SegmentationLoss(config.loss, weights).to(world.device)
        self.bf16 = config.train.precision == "bf16"
        self.parts = parts_of_batch(config, state, world.world_size)
        # Summed on the device and read at log points only: no synchronisation per step for it.
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=world.device)
        self.own_time = OwnTime()
        self.pace = Pace(world)
        if config.train.activation_checkpointing:
            recompute_blocks(state.network)
        if config.train.auto_batch:
            self._fit_into_memory()  # before it is wrapped: SyncBatchNorm waits for ranks without memory
        part = max(1, config.train.batch_size // world.world_size // self.parts)
        self.network = world.wrap(state.network, part, config.train.gradients)

    def _fit_into_memory(self) -> None:
        """Raises the number of parts of a batch until one fits, the same on all ranks (train.auto_batch)."""
        # The first batch is a largest one, the last one a smallest, in whose parts all others must fit.
        pictures = -(-self.batches.global_batch(0) // self.world.world_size)
        most = self.batches.global_batch(self.batches.steps - 1) // self.world.world_size
        step = partial(self._try_memory, pictures)
        found = self.world.fail_together(lambda: fitting_parts(step, most, self.parts))
        self.parts = max(self.world.all_gather(found))
        self.log.note(
            f"auto-batch: {-(-pictures // self.parts)} of a process's {pictures} pictures at a time, "
            f"accumulate = {self.parts}"
        )

    def _try_memory(self, pictures: int, parts: int) -> None:
        """A step on random pictures that changes nothing: no optimizer, no other rank."""
        size, network, device = self.config.data.size, self.state.network.train(), self.world.device
        buffers = [buffer.clone() for buffer in network.buffers()]
        images = torch.randint(0, 256, (pictures, 3, size, size), dtype=torch.uint8, device=device)
        masks = torch.randint(0, NUM_CLASSES, (pictures, size, size), dtype=torch.uint8, device=device)
        try:
            images, targets = self.mix(*self.augment(images, masks))
            self._backward(network, images, targets, parts, scale=1)
        finally:
            self.state.optimizer.zero_grad(set_to_none=True)
            put_back(network, buffers)

    def train_epoch(self, folder: RunFolder) -> None:
        """Trains on the rest of the state's epoch, saving as often as the config says.

        Raises:
            StopAskedError: a rank was asked to stop before its end.
            InputError: a rank met a picture that it can't read any more.
        """
        state, world = self.state, self.world
        self.network.train()
        self.batches.set_position(state.epoch, state.batch)
        self.loss_sum.fill_(self._own_loss_sum())
        self.pace, self.own_time, first = Pace(world), OwnTime(), state.batch
        fetched = self.pace.batches(self.own_time.around(self.loader))
        for images, masks in in_lockstep(
            fetched, world, lambda: folder.save_due(state), lambda: self.save(folder)
        ):
            loss = self.train_step(images, masks)
            self.pace.count(self.batches.global_batch(state.batch))
            state.batch += 1
            self.loss_sum += loss.nan_to_num(0, 0, 0) * len(images)
            with record_function("logging"):
                self._log_step(loss)
        state.loss_sums = world.all_gather(self.loss_sum.item())
        self._report_times(state.batch - first)

    def save(self, folder: RunFolder) -> None:
        """Writes the state as it is between two steps; all ranks call it."""
        self.state.loss_sums = self.world.all_gather(self.loss_sum.item())
        folder.save_last(self.state, self.log)

    def close(self) -> None:
        """Ends the loader's processes: they ignore SIGTERM, and an exit by an error would wait for ever."""
        workers: Any = self.loader._iterator  # pyright: ignore[reportPrivateUsage]
        if self.loader.num_workers > 0 and workers is not None:
            workers._shutdown_workers()
            for process in workers._workers:
                process.kill()  # one that hangs in a read

    def next_epoch(self) -> None:
        """Moves on once the epoch has been trained and evaluated."""
        self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        self.loss_sum.zero_()

    def _report_times(self, steps: int) -> None:
        """Each rank's time per step into its log; stragglers to the terminal."""
        if steps == 0:
            return
        own = self.own_time.seconds / steps
        logger.info("epoch %d: %d steps, %.1f ms of its own each", self.state.epoch + 1, steps, 1000 * own)
        for line in name_stragglers(self.world.all_gather((self.world.place, own))):
            self.log.warn(line)

    def _log_step(self, loss: Tensor) -> None:
        state = self.state
        if state.step % LOG_STEPS == 0:
            self.log.step(state.epoch + 1, state.step, loss.item(), self.learning_rate)
        if self.log.count(self.batches.global_batch(state.batch - 1)):
            epochs, steps = self.config.train.epochs, self.batches.steps
            self.log.progress(state.epoch + 1, epochs, state.batch, steps, loss.item())

    def train_step(self, images: Tensor, masks: Tensor) -> Tensor:
        """One optimizer step on this rank's share of a batch, uint8 from the loader; returns its loss.

        Its parts are named for torch's profiler: PARTS.
        """
        state, world = self.state, self.world
        torch.manual_seed(step_seed(self.config.train.seed, state.step, world.rank))
        self.own_time.go()
        with record_function("copy"):
            images = images.to(world.device, non_blocking=True)
            masks = masks.to(world.device, non_blocking=True)
        with record_function("augmentation"):
            images, targets = self.mix(*self.augment(images, masks))
        state.schedule.before_step(state.step)
        # BatchNorm's statistics change in the forward pass, before anybody knows whether the step counts.
        buffers = [buffer.clone() for buffer in state.network.buffers()]
        loss = self._gradient(images, targets)
        norm = nn.utils.clip_grad_norm_(
            state.network.parameters(), self.config.optim.clip_norm or float("inf")
        )
        if not torch.isfinite(norm):  # the same on all ranks: their gradients are averaged by now
            self._skip(buffers)
            return loss
        state.skipped_in_a_row = 0
        with record_function("optimizer"):
            state.optimizer.step()
        with record_function("buffers"):
            world.average_buffers(state.network)
        if state.ema is not None:
            with record_function("ema"):
                state.ema.update(state.network, step=state.step)
        return loss

    def _gradient(self, images: Tensor, targets: list[Target]) -> Tensor:
        """Leaves the batch's gradient in the parameters, averaged over ranks; returns this rank's loss."""
        self.state.optimizer.zero_grad(set_to_none=True)
        batch = self.batches.global_batch(self.state.batch)
        # As many on all ranks, for SyncBatchNorm's collectives: no more than the smallest share has pictures.
        parts = min(self.parts, batch // self.world.world_size)
        # DDP averages over ranks; their shares may differ by one picture, so each counts by its size.
        scale = len(images) * self.world.world_size / batch
        return self._backward(self.network, images, targets, parts, scale)

    def _backward(
        self, network: nn.Module, images: Tensor, targets: list[Target], parts: int, scale: float
    ) -> Tensor:
        """Adds ``scale`` times the gradient of this rank's loss, which it returns; its images in parts."""
        if parts == 1:
            loss = self._loss(self._logits(network, images), targets)
            self.own_time.wait()
            with record_function("backward"):
                (loss * scale).backward()
            return loss.detach()
        pieces = images.tensor_split(parts)
        without_exchange = partial(self._logits, self.state.network)
        loss, gradients = cached_gradients(
            self.state.network, without_exchange, pieces, lambda logits: self._loss(logits, targets)
        )
        for number, (piece, gradient) in enumerate(zip(pieces, gradients, strict=True), start=1):
            last = number == parts
            # DDP settles in the forward pass whether this part's backward pass exchanges gradients.
            with nullcontext() if last else self.world.accumulating(network):
                logits = self._logits(network, piece)
                if last:
                    self.own_time.wait()
                with record_function("backward"):
                    torch.autograd.backward(as_list(logits), [each * scale for each in gradient])
        return loss

    def _logits(self, network: nn.Module, images: Tensor) -> Logits:
        with (
            record_function("forward"),
            torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bf16),
        ):
            return network(self.normalise(images))

    def _loss(self, logits: Logits, targets: list[Target]) -> Tensor:
        with record_function("forward"):
            return torch.stack([self.loss(logits, mask) * weight for mask, weight in targets]).sum()

    def _skip(self, buffers: list[Tensor]) -> None:
        """Leaves weights, optimizer and statistics as they were before the step."""
        state = self.state
        put_back(state.network, buffers)
        state.skipped += 1
        state.skipped_in_a_row += 1
        if state.skipped_in_a_row == MAX_SKIPPED:
            state.skipped_in_a_row = 0  # a resumed run has as many tries again
            raise DivergedError(
                f"no finite gradient for {MAX_SKIPPED} steps in a row, at step {state.step} of epoch "
                f"{state.epoch + 1}: lower --lr, or look at the data; the last good checkpoint is "
                f"{self.config.output}/last.pt"
            )

    def evaluate_epoch(self, pairs: list[Pair], train_seconds: float) -> tuple[dict[str, Any], nn.Module]:
        """The epoch's record, and the network that it speaks of: averaged or raw, the better one."""
        config, state, world = self.config, self.state, self.world
        started = time.monotonic()
        candidates = {"raw": deployable(state.network)}
        if state.ema is not None:
            candidates["ema"] = deployable(state.ema.module)
        records: dict[str, dict[str, Any]] = {}
        for name, network in candidates.items():
            result = evaluate(network, config.data.size, pairs, world, self.loss, config.data.workers)
            records[name] = {"loss": result.losses.mean().item(), **figures(result.tally)}
        state.schedule.after_epoch(records["raw"]["loss"])
        better = max(records, key=lambda name: records[name]["miou"])
        record = {
            "epoch": state.epoch + 1,
            "step": state.step,
            "lr": self.learning_rate,
            "skipped_steps": state.skipped,
            "train_loss": sum(state.loss_sums) / self.batches.samples,
            "weights": better,
            "miou_by_weights": {name: record["miou"] for name, record in records.items()},
            **records[better],
            "timing": {
                "train_seconds": train_seconds,
                "eval_seconds": time.monotonic() - started,
                **self.pace.record(),
            },
        }
        return record, candidates[better]

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return self.state.optimizer.param_groups[0]["lr"]

    def _own_loss_sum(self) -> float:
        """This rank's loss sum so far; rank 0 takes all of it after a change of the world's size."""
        sums = self.state.loss_sums
        if len(sums) == self.world.world_size:
            return sums[self.world.rank]
        return sum(sums) if self.world.is_main else 0.0
