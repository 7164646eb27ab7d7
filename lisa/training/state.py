"""Everything that a run changes: saved whole, so that a resumed run is the same run."""

from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from lisa.config import Config
from lisa.run import checkpoint
from lisa.training.optim import Schedule, load_moments, make_optimizer


class TrainState:
    """Network, its average, optimizer, schedule, and the position in the run.

    Random numbers need no place here: each step's are seeded by run, step and rank (:func:`step_seed`).
    ``batch`` counts the finished batches of ``epoch``, ``loss_sums`` holds each rank's sum of losses over the
    epoch's pictures so far. ``log_offset`` is the length of metrics.jsonl, ``begun_with`` the number of
    processes that the run began with.
    """

    def __init__(self, network: nn.Module, config: Config, steps_per_epoch: int) -> None:
        self.network = network
        self.optimizer = make_optimizer(network, config.optim)
        self.schedule = Schedule(self.optimizer, config.optim, steps_per_epoch * config.train.epochs)
        decay = config.optim.ema_decay
        self.ema = ModelEmaV3(network, decay=decay, use_warmup=True) if decay > 0 else None
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.batch = 0
        self.loss_sums: list[float] = []
        self.best = -1.0
        self.best_epoch = 0
        self.log_offset = 0
        self.begun_with = 0
        self.skipped = 0
        self.skipped_in_a_row = 0

    @property
    def step(self) -> int:
        """Optimizer steps since the run began."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def averaged(self) -> nn.Module:
        """The averaged network if there is one, else the network."""
        return self.network if self.ema is None else self.ema.module

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers, loadable weights-only."""
        return {
            "network": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            **{name: getattr(self, name) for name in _POSITION},
        }

    def load_state_dict(self, state: dict[str, Any], source: str) -> None:
        """The inverse of state_dict; InputError for another network's."""
        checkpoint.load_weights(self.network, state["network"], source)
        if self.ema is not None:
            # A run that kept no average so far begins one with the weights that it has.
            checkpoint.load_weights(self.ema.module, state["ema"] or state["network"], source)
        load_moments(self.optimizer, state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        for name in _POSITION:
            setattr(self, name, state[name])


_POSITION = (
    "epoch",
    "batch",
    "loss_sums",
    "best",
    "best_epoch",
    "log_offset",
    "begun_with",
    "skipped",
    "skipped_in_a_row",
)


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed of its own for each step of each rank: a resumed run draws what an undisturbed one would."""
    generator = torch.Generator().manual_seed(seed)
    base = int(torch.randint(2**31, (), generator=generator))
    return (base + 1_000_003 * step + rank) % 2**62
