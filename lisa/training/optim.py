"""Optimizer and learning rate: timm's groups, optimizers and schedules, our Muon, torch's plateau."""

from typing import Any

import torch
from timm.optim import create_optimizer_v2, param_groups_weight_decay
from timm.scheduler import create_scheduler_v2
from torch import nn

from lisa.config import OptimConfig
from lisa.errors import InputError
from lisa.training.muon import Muon, is_matrix
from lisa.world import World

WARMUP_START = 1e-6
POLY_POWER = 0.9  # DeepLab's (https://arxiv.org/abs/1606.00915); timm's default of 0.1 hardly falls
PLATEAU_COUNTERS = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.1, 5  # the published training script's


def make_optimizer(
    network: nn.Module,
    config: OptimConfig,
    dtype: torch.dtype = torch.float32,
    world: World | None = None,
) -> torch.optim.Optimizer:
    """The config's optimizer; 1-D parameters (norms, biases, PReLU slopes) have no weight decay.

    Muon computes in ``dtype``; the world's ranks share its work.
    """
    groups = param_groups_weight_decay(network, 1.0)  # two, with a decay of 0 too: a run may go on without it
    for group in groups:
        group["weight_decay"] *= config.weight_decay
    if config.name == "muon":
        return Muon(groups, config.lr, config.weight_decay, dtype, world or World())
    return create_optimizer_v2(groups, config.name, lr=config.lr, fused=True)


def load_moments(optimizer: torch.optim.Optimizer, saved: dict[str, Any], as_low: bool) -> None:
    """The saved moments with the config's settings, which may be others than when they were saved.

    Adam and AdamW have the same moments. With ``as_low`` the rate keeps its ratio to the config's, which
    plateau may have lowered. Without, it is the config's, as plateau needs it after another schedule.

    Raises:
        InputError: the run began with Muon and should go on with Adam, or the other way round; or it began
            without weight decay in an older version, whose checkpoints hold one group.
    """
    began = any("momentum" in moments for moments in saved["state"].values())
    has_matrices = any(is_matrix(each) for group in optimizer.param_groups for each in group["params"])
    goes_on = has_matrices and isinstance(optimizer, Muon)
    if saved["state"] and began != goes_on:
        name = "muon" if began else "adamw (or adam)"
        raise InputError(f"the run began with another optimizer: go on with --optim.name {name}")
    if len(saved["param_groups"]) != len(optimizer.param_groups):
        raise InputError(
            "the run began without weight decay in an older version, which can't go on here: begin a new one "
            "with --init and its last.pt"
        )
    ours = [{key: each for key, each in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, own in zip(optimizer.param_groups, ours, strict=True):
        before, initial = group["lr"], group.get("initial_lr", own["initial_lr"])
        lowered = before if initial == own["initial_lr"] else own["initial_lr"] * (before / initial)
        group.update(own, lr=lowered if as_low else own["initial_lr"])


class Schedule:
    """The learning rate at each step.

    Cosine and poly are functions of the step. Plateau follows the validation loss; it is torch's, since
    timm's keeps no state in checkpoints.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int) -> None:
        self._plateau = self._by_step = None
        if config.schedule == "plateau":
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]  # as timm's schedules do
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=PLATEAU_FACTOR, patience=PLATEAU_PATIENCE, min_lr=config.min_lr
            )
        else:
            # One "epoch" of timm's is one step here, so that warm-up may be any share of them.
            self._by_step, _ = create_scheduler_v2(
                optimizer,
                sched=config.schedule,
                num_epochs=steps,
                warmup_epochs=round(config.warmup * steps),
                warmup_lr=min(WARMUP_START, config.lr),
                min_lr=config.min_lr,
                decay_rate=POLY_POWER,
                step_on_epochs=False,
                updates_per_epoch=1,
            )

    def before_step(self, step: int) -> None:
        """Sets the optimizer's rate for optimizer step number ``step``, counted from 0."""
        if self._by_step is not None:
            self._by_step.step_update(step)

    @property
    def by_loss(self) -> bool:
        """Whether it is plateau."""
        return self._plateau is not None

    def after_epoch(self, val_loss: float) -> None:
        """Tells plateau the epoch's validation loss."""
        if self._plateau is not None:
            self._plateau.step(val_loss)

    def state_dict(self) -> dict[str, Any]:
        """Plateau's counters; the others have no state."""
        return dict(self._plateau.state_dict()) if self._plateau is not None else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on counting where state_dict was taken; the settings are the config's."""
        if self._plateau is not None:
            self._plateau.load_state_dict({name: state[name] for name in PLATEAU_COUNTERS if name in state})
