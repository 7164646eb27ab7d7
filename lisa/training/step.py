"""One optimizer step on a batch: augmentation, forward, backward, update. It knows no file, epoch or log."""

import time
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from lisa.augment.augmentation import Augmentation
from lisa.config import Config
from lisa.errors import DivergedError
from lisa.models.recompute import recompute_blocks
from lisa.training.accumulation import cached_gradients
from lisa.training.buffers import read_buffers, write_buffers
from lisa.training.passes import Passes, compile_passes
from lisa.training.state import TrainState, step_seed
from lisa.world import World

PARTS = ("copy", "augmentation", "forward", "backward", "optimizer", "buffers", "ema", "logging")
"""What a step's parts are called in a profile; the wait for pictures is torch's "enumerate(DataLoader)"."""

MAX_SKIPPED = 10
"""So many steps in a row without a finite gradient stop the run."""


class Step:
    """Trains the state's network, a batch at a time.

    No step waits for the device: what a step decides by its gradient is decided there. ``parts`` is the
    number of parts in which a rank's share of a batch goes through the network, ``own_seconds`` what the last
    step took until the ranks first had to wait for one another. ``wrapped`` is ``passes`` as the World has
    wrapped it: its backward pass exchanges gradients.
    """

    def __init__(self, config: Config, world: World, state: TrainState) -> None:
        self.config, self.world, self.state = config, world, state
        self.augment = Augmentation(config.augment, config.labels).to(world.device)
        self.parts = 1
        self.own_seconds = 0.0
        self._skipped_in_a_row = Late(world.device)
        if config.train.activation_checkpointing:
            recompute_blocks(state.network)
        self.passes = Passes(state.network, config, world.device)
        if config.train.compile:
            compile_passes(self.passes)
        self.wrapped: nn.Module = self.passes

    def join_ranks(self, pictures_at_once: int) -> None:
        """From here on the ranks exchange gradients. All ranks call it, once."""
        self.wrapped = self.world.wrap(self.passes, pictures_at_once, self.config.train.gradients)

    def __call__(self, images: Tensor, masks: Tensor, pictures: int) -> Tensor:
        """One step on this rank's share of a batch of ``pictures``; returns its loss, () on the device.

        (B,3,size,size) and (B,size,size) uint8, from the loader. Its parts are named for torch's profiler:
        PARTS. Raises DivergedError, on all ranks in the same step, if the steps before the last one have
        shown that there is no finite gradient any more.
        """
        started = time.perf_counter()
        self._require_progress(self._skipped_in_a_row.read())
        state, world = self.state, self.world
        torch.manual_seed(step_seed(self.config.train.seed, state.step, world.rank))
        with record_function("copy"):
            images = images.to(world.device, non_blocking=True)
            masks = masks.to(world.device, non_blocking=True)
        with record_function("augmentation"):
            images, masks = self.augment(images, masks)
        state.schedule.before_step(state.step)
        # BatchNorm's statistics change in the forward pass, before anybody knows whether the step counts.
        statistics = read_buffers(state.network)
        loss = self._gradient(images, masks, pictures, started)
        self._update(statistics)
        return loss

    def require_progress(self) -> None:
        """Raises DivergedError if the last steps have diverged; waits for the device."""
        self._require_progress(int(self.state.skipped_in_a_row))

    def try_memory(self, pictures: int, parts: int) -> None:
        """A step on random pictures that changes nothing: no optimizer, no other rank."""
        size, network, device = self.config.data.size, self.state.network.train(), self.world.device
        statistics = read_buffers(network)
        images = torch.randint(0, 256, (pictures, 3, size, size), dtype=torch.uint8, device=device)
        masks = torch.randint(
            0, len(self.config.labels), (pictures, size, size), dtype=torch.uint8, device=device
        )
        try:
            images, masks = self.augment(images, masks)
            self._backward(self.passes, images, masks, parts, 1, time.perf_counter())
        finally:
            self.state.optimizer.zero_grad(set_to_none=True)
            write_buffers(network, statistics)

    def _gradient(self, images: Tensor, masks: Tensor, pictures: int, started: float) -> Tensor:
        """Leaves the batch's gradient in the parameters, averaged over ranks; returns this rank's loss."""
        self.state.optimizer.zero_grad(set_to_none=True)
        # As many on all ranks, for SyncBatchNorm's collectives: no more than the smallest share has pictures.
        parts = min(self.parts, pictures // self.world.world_size)
        # DDP averages over ranks; their shares may differ by one picture, so each counts by its size.
        scale = len(images) * self.world.world_size / pictures
        return self._backward(self.wrapped, images, masks, parts, scale, started)

    def _backward(
        self,
        passes: nn.Module,
        images: Tensor,
        masks: Tensor,
        parts: int,
        scale: float,
        started: float,
    ) -> Tensor:
        """Adds ``scale`` times the gradient of this rank's loss, which it returns; its images in parts."""
        if parts == 1:
            with record_function("forward"):
                loss = passes(images, masks)
            self.own_seconds = time.perf_counter() - started
            with record_function("backward"):
                (loss * scale).backward()
            return loss.detach()
        pieces = images.tensor_split(parts)
        loss, gradients = cached_gradients(
            self.state.network, self._logits, pieces, lambda logits: self._loss(logits, masks)
        )
        for number, (piece, gradient) in enumerate(zip(pieces, gradients, strict=True), start=1):
            last = number == parts
            # DDP settles in the forward pass whether this part's backward pass exchanges gradients.
            with nullcontext() if last else self.world.accumulating(passes):
                with record_function("forward"):
                    logits = passes(piece)
                if last:
                    self.own_seconds = time.perf_counter() - started
                with record_function("backward"):
                    logits.backward(gradient * scale)
        return loss

    def _logits(self, images: Tensor) -> Tensor:
        """Without the wrapper, which would expect a backward pass."""
        with record_function("forward"):
            return self.passes(images)

    def _loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        with record_function("forward"):
            return self.passes.loss(logits, masks)

    def _update(self, statistics: list[Tensor]) -> None:
        """Takes the step if its gradient is finite; else all stays as it was, with these statistics."""
        state = self.state
        norm = nn.utils.clip_grad_norm_(
            state.network.parameters(), self.config.optim.clip_norm or float("inf")
        )
        # () bool, the same on all ranks: their gradients are averaged by now. A run that has diverged changes
        # nothing any more until the host hears of it.
        taken = norm.isfinite() & (state.skipped_in_a_row < MAX_SKIPPED)
        state.skipped += ~taken
        state.skipped_in_a_row.copy_(torch.where(taken, 0, state.skipped_in_a_row + 1))
        self._skipped_in_a_row.write(state.skipped_in_a_row)
        with record_function("optimizer"):
            state.take_step(taken)
        with record_function("buffers"):
            self.world.average_buffers(state.network)
            found = read_buffers(state.network)
            kept = [torch.where(taken, new, old) for new, old in zip(found, statistics, strict=True)]
            write_buffers(state.network, kept)
        with record_function("ema"):
            state.average_weights(taken)

    def _require_progress(self, skipped_in_a_row: int) -> None:
        state = self.state
        if skipped_in_a_row >= MAX_SKIPPED:
            state.skipped_in_a_row.zero_()  # a resumed run has as many tries again
            raise DivergedError(
                f"no finite gradient for {MAX_SKIPPED} steps in a row, at step {state.step} of epoch "
                f"{state.epoch + 1}: lower --lr, or look at the data; the last good checkpoint is "
                f"{self.config.output}/last.pt"
            )


class Late:
    """A number on the device, read two steps after it was written: the host waits for no younger step.

    So it is never more than two steps ahead of the device either.
    """

    def __init__(self, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self._copies = [torch.zeros((), dtype=torch.int64, pin_memory=on_gpu) for _ in range(2)]
        self._events = [torch.cuda.Event() for _ in range(2)] if on_gpu else []
        self._written = 0

    def write(self, value: Tensor) -> None:
        """Begins to copy the number, () int64, to the host."""
        slot = self._written % 2
        self._copies[slot].copy_(value, non_blocking=True)
        if self._events:
            self._events[slot].record()
        self._written += 1

    def read(self) -> int:
        """The number as it was written the last time but one; 0 before that."""
        slot = self._written % 2
        if self._events:
            self._events[slot].synchronize()
        return int(self._copies[slot].numpy())
