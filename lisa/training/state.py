"""Everything that a run changes: saved whole, so that a resumed run is the same run."""

from collections.abc import Iterable
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from lisa.config import Config
from lisa.run import checkpoint
from lisa.training.optim import Schedule, load_moments, make_optimizer
from lisa.world import World


class TrainState:
    """Network, its average, optimizer, schedule, and the position in the run.

    Random numbers need no place here: each step's are seeded by run, step and rank (:func:`step_seed`).
    ``batch`` counts the finished batches of ``epoch``, ``begun_with`` is the number of processes that the run
    began with. Numbers that a step changes are tensors on the device, so that no step waits to read one:
    ``loss_sum`` () float64, this rank's sum of losses over the epoch's pictures so far, and
    ``loss_pictures`` () float64, how many those are that had a finite one; ``skipped`` and
    ``skipped_in_a_row`` () int64, steps without a finite gradient.
    """

    def __init__(self, network: nn.Module, config: Config, steps_per_epoch: int, world: World) -> None:
        self.network = network
        dtype = torch.bfloat16 if config.train.precision == "bf16" else torch.float32
        self.optimizer = make_optimizer(network, config.optim, dtype, world)
        self.schedule = Schedule(self.optimizer, config.optim, steps_per_epoch * config.train.epochs)
        decay = config.optim.ema_decay
        self.ema = ModelEmaV3(network, decay=decay, use_warmup=True) if decay > 0 else None
        self.steps_per_epoch = steps_per_epoch
        self.epoch = 0
        self.batch = 0
        self.best = -1.0
        self.best_epoch = 0
        self.begun_with = 0
        device = next(network.parameters()).device
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.loss_pictures = torch.zeros_like(self.loss_sum)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.skipped_in_a_row = torch.zeros_like(self.skipped)

    @property
    def step(self) -> int:
        """Optimizer steps since the run began."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def averaged(self) -> nn.Module:
        """The averaged network if there is one, else the network."""
        return self.network if self.ema is None else self.ema.module

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return self.optimizer.param_groups[0]["lr"]

    def count_step(self, loss: Tensor, pictures: int) -> None:
        """Moves on by a step of this loss, on so many pictures of this rank."""
        self.batch += 1
        counts = loss.isfinite()
        self.loss_sum += torch.where(counts, loss, 0) * pictures
        self.loss_pictures += counts * pictures

    def take_step(self, taken: Tensor) -> None:
        """The optimizer's step where ``taken``, () bool on the device, is true; else it changes nothing."""
        self.optimizer.grad_scale = None  # pyright: ignore[reportAttributeAccessIssue]
        self.optimizer.found_inf = (~taken).float()  # pyright: ignore[reportAttributeAccessIssue]
        self.optimizer.step()

    @torch.no_grad()
    def average_weights(self, taken: Tensor) -> None:
        """Moves the average towards the weights, as timm's ModelEmaV3 does, where ``taken`` is true."""
        if self.ema is None:
            return
        pairs = [*zip(self.ema.module.state_dict().values(), self.network.state_dict().values(), strict=True)]
        decay = self.ema.get_decay(self.step)
        # A network that has taken no step yet is its own average, so that a copy is right in any case.
        copied = [decay == 0 or not average.is_floating_point() for average, _ in pairs]
        averages, weights = _lists(pair for pair, whole in zip(pairs, copied, strict=True) if whole)
        torch._foreach_copy_(averages, weights)  # pyright: ignore[reportPrivateUsage]
        if decay > 0:
            averages, weights = _lists(pair for pair, whole in zip(pairs, copied, strict=True) if not whole)
            steps = torch._foreach_sub(weights, averages)  # pyright: ignore[reportPrivateUsage]
            torch._foreach_mul_(steps, (1 - decay) * taken)  # pyright: ignore[reportPrivateUsage]
            torch._foreach_add_(averages, steps)  # pyright: ignore[reportPrivateUsage]

    def end_epoch(self, miou: float) -> bool:
        """Moves on to the next epoch; whether the one that ends was the best so far."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum.zero_()
        self.loss_pictures.zero_()
        if not miou > self.best:
            return False
        self.best, self.best_epoch = miou, self.epoch
        return True

    def state_dict(self, world: World) -> dict[str, Any]:
        """Plain tensors and numbers, loadable weights-only. All ranks call it."""
        return {
            "network": self.network.state_dict(),
            "ema": None if self.ema is None else self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "loss_sums": world.all_gather(self.loss_sum.item()),
            "loss_pictures": world.all_gather(self.loss_pictures.item()),
            "skipped": int(self.skipped),
            "skipped_in_a_row": int(self.skipped_in_a_row),
            "steps_per_epoch": self.steps_per_epoch,
            **{name: getattr(self, name) for name in _POSITION},
        }

    def load_state_dict(self, state: dict[str, Any], source: str, world: World) -> None:
        """The inverse of state_dict; InputError for another network's."""
        checkpoint.load_weights(self.network, state["network"], source)
        if self.ema is not None:
            # A run that kept no average so far begins one with the weights that it has.
            checkpoint.load_weights(self.ema.module, state["ema"] or state["network"], source)
        as_low = bool(state["schedule"]) or not self.schedule.by_loss
        load_moments(self.optimizer, state["optimizer"], as_low)
        self.schedule.load_state_dict(state["schedule"])
        for name, own in (("loss_sums", self.loss_sum), ("loss_pictures", self.loss_pictures)):
            sums: list[float] = state[name]
            if len(sums) == world.world_size:
                own.fill_(sums[world.rank])
            else:  # another number of processes: rank 0 takes all of it
                own.fill_(sum(sums) if world.is_main else 0.0)
        self.skipped.fill_(state["skipped"])
        self.skipped_in_a_row.fill_(state["skipped_in_a_row"])
        for name in _POSITION:
            setattr(self, name, state[name])
        # Another size of batch leaves the epoch's order as it is: so much of it is done.
        share = state["batch"] / state.get("steps_per_epoch", self.steps_per_epoch)
        self.batch = min(round(share * self.steps_per_epoch), self.steps_per_epoch)


_POSITION = ("epoch", "batch", "best", "best_epoch", "begun_with")


def _lists(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    first, second = zip(*pairs, strict=True)
    return list(first), list(second)


def step_seed(seed: int, step: int, rank: int) -> int:
    """A seed of its own for each step of each rank: a resumed run draws what an undisturbed one would."""
    generator = torch.Generator().manual_seed(seed)
    base = int(torch.randint(2**31, (), generator=generator))
    return (base + 1_000_003 * step + rank) % 2**62
