"""One rank's part of an epoch: batches, steps, and what is evaluated after them."""

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import record_function
from torch.utils.data import DataLoader

from lisa.augment import Augmentation
from lisa.auto_batch import fitting_parts
from lisa.config import Config
from lisa.console import RunLog
from lisa.data.cache import open_faces
from lisa.data.faces import EpochBatches, collate_same_size, ignore_signals
from lisa.data.pairs import Pair
from lisa.errors import InputError
from lisa.evaluation import evaluate
from lisa.labels import NUM_CLASSES
from lisa.lockstep import in_lockstep
from lisa.losses import SegmentationLoss, class_weights
from lisa.metrics import figures
from lisa.mixing import Mixing
from lisa.models import deployable
from lisa.models.recompute import recompute_blocks
from lisa.pace import Pace
from lisa.parser import FaceParser
from lisa.run_folder import RunFolder, parts_of_batch
from lisa.state import TrainState, step_seed
from lisa.stragglers import OwnTime, name_stragglers
from lisa.world import World

logger = logging.getLogger(__name__)

LOG_STEPS = 10

PARTS = ("copy", "augmentation", "forward", "backward", "optimizer", "buffers", "ema", "logging")
"""What a step's parts are called in a profile; the wait for pictures is torch's "enumerate(DataLoader)"."""

MAX_SKIPPED = 10
"""So many steps in a row without a finite gradient stop the run."""


class DivergedError(InputError):
    """The loss or its gradient stayed NaN or infinite."""

    exit_code = 3
    """A search must tell such a trial, which scored badly, from one that could not run."""


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
            world.agree(lambda: open_faces(pairs, config.data.size, config.data.cache)),
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
        self.parts = parts_of_batch(config, state, world.size)
        # Summed on the device and read at log points only: no synchronisation per step for it.
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=world.device)
        self.own_time = OwnTime()
        self.pace = Pace(world)
        if config.train.activation_checkpointing:
            recompute_blocks(state.network)
        if config.train.auto_batch:
            self._fit_into_memory()  # before it is wrapped: SyncBatchNorm waits for ranks without memory
        share = config.train.batch_size // world.size
        self.network = world.wrap(state.network, share, config.train.gradients)

    def _fit_into_memory(self) -> None:
        """Raises the number of parts of a batch until one fits, the same on all ranks (train.auto_batch)."""
        pictures = -(-self.batches.global_batch(0) // self.world.size)  # the first batch is a largest one
        found = self.world.agree(lambda: fitting_parts(self._try_memory, pictures, self.parts))
        self.parts = max(self.world.gather(found))
        self.log.note(
            f"auto-batch: {-(-pictures // self.parts)} of a process's {pictures} pictures at a time, "
            f"accumulate = {self.parts}"
        )

    def _try_memory(self, pictures: int) -> None:
        """A step on random pictures that changes nothing: no optimizer, no other rank."""
        size, network, device = self.config.data.size, self.state.network.train(), self.world.device
        buffers = [buffer.clone() for buffer in network.buffers()]
        images = torch.randint(0, 256, (pictures, 3, size, size), dtype=torch.uint8, device=device)
        masks = torch.randint(0, NUM_CLASSES, (pictures, size, size), dtype=torch.uint8, device=device)
        try:
            images, targets = self.mix(*self.augment(images, masks))
            masks, weights = zip(*targets, strict=True)
            self._loss(network, images, masks, weights).backward()
        finally:
            self.state.optimizer.zero_grad(set_to_none=True)
            _put_back(network, buffers)

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
        state.loss_sums = world.gather(self.loss_sum.item())
        self._report_times(state.batch - first)

    def save(self, folder: RunFolder) -> None:
        """Writes the state as it is between two steps; all ranks call it."""
        self.state.loss_sums = self.world.gather(self.loss_sum.item())
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
        for line in name_stragglers(self.world.gather((self.world.place, own))):
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
        loss = self._backward(images, targets)
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

    def _backward(self, images: Tensor, targets: list[tuple[Tensor, float]]) -> Tensor:
        """Leaves the batch's gradient in the parameters, averaged over ranks; returns this rank's loss."""
        self.state.optimizer.zero_grad(set_to_none=True)
        # DDP averages over ranks; their shares may differ by one picture, so each counts by its size.
        batch = self.batches.global_batch(self.state.batch)
        share = self.world.size / batch
        # As many on all ranks, for SyncBatchNorm's collectives: no more than the smallest share has pictures.
        parts = min(self.parts, batch // self.world.size)
        total = torch.zeros((), device=self.world.device)
        tensors = (images, *(mask for mask, _ in targets))
        chunks = zip(*(tensor.tensor_split(parts) for tensor in tensors), strict=True)
        for number, (pictures, *masks) in enumerate(chunks, start=1):
            # DDP settles in the forward pass whether this part's backward pass exchanges gradients.
            with nullcontext() if number == parts else self.world.accumulating(self.network):
                loss = self._loss(self.network, pictures, masks, [weight for _, weight in targets])
                weighted = loss * (len(pictures) * share)
                if number == parts:
                    self.own_time.wait()
                with record_function("backward"):
                    weighted.backward()
            total += loss.detach() * (len(pictures) / len(images))
        return total

    def _loss(
        self, network: nn.Module, images: Tensor, masks: Sequence[Tensor], weights: Sequence[float]
    ) -> Tensor:
        with record_function("forward"):
            with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.bf16):
                logits = network(self.normalise(images))
            losses = [self.loss(logits, mask) * weight for mask, weight in zip(masks, weights, strict=True)]
            return torch.stack(losses).sum()

    def _skip(self, buffers: list[Tensor]) -> None:
        """Leaves weights, optimizer and statistics as they were before the step."""
        state = self.state
        _put_back(state.network, buffers)
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
        if len(sums) == self.world.size:
            return sums[self.world.rank]
        return sum(sums) if self.world.is_main else 0.0


def _put_back(network: nn.Module, buffers: list[Tensor]) -> None:
    for buffer, before in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(before)
