"""Loss and gradients in IEEE fp32, TF32 and bf16 against the CPU's; and two runs, bit for bit."""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.steps import config_of, real_batch
from lisa.config import Config
from lisa.face_parser import FaceParser
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.training.precision import arithmetic


class Outcome(NamedTuple):
    """Of one forward and backward pass, on the CPU."""

    loss: Tensor
    labels: Tensor
    gradients: dict[str, Tensor]


def run(bench: Bench) -> None:
    """Rows by network, precision and determinism."""
    size, count = bench.pick(256, 32), bench.pick(4, 2)
    batch = real_batch(bench, size, count)
    for name in bench.pick(("lisa", "unet", "segnext"), ("lisa",)):
        config = config_of(f"best --model.name {name} --train.precision fp32", bench, size=size)
        reference = computed(config, batch, torch.device("cpu"))
        for precision in ("fp32", "tf32", "bf16"):
            for deterministic in (False, True):
                if bench.no_time(f"{name} in {precision}"):
                    return
                train = replace(config.train, precision=precision, deterministic=deterministic)
                runs = [computed(replace(config, train=train), batch, bench.device) for _ in range(2)]
                bench.row(
                    f"against the CPU's fp32, {count} faces at {size}x{size}",
                    network=name,
                    precision=precision,
                    deterministic=deterministic,
                    **compared(runs[0], reference),
                    two_runs_equal=equal(*runs),
                )


def computed(config: Config, batch: tuple[Tensor, Tensor], device: torch.device) -> Outcome:
    """Loss, labels and gradients of a new network, the same on every device."""
    torch.manual_seed(0)
    network: nn.Module = build(config.model).train()
    network = network.to(device, memory_format=torch.channels_last)  # pyright: ignore
    normalise = FaceParser(nn.Identity(), config.data.size).to(device).normalise
    images, masks = (each.to(device) for each in batch)
    torch.manual_seed(1)  # SegNeXt drops paths at random: the same ones only on one kind of device
    bf16 = config.train.precision == "bf16"
    with arithmetic(config.train, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = network(normalise(images))
        loss = SegmentationLoss(config.loss)(logits, masks)
        loss.backward()
    gradients = {name: each.grad.cpu() for name, each in network.named_parameters() if each.grad is not None}
    return Outcome(loss.detach().cpu(), logits.argmax(1).cpu(), gradients)


def compared(outcome: Outcome, reference: Outcome) -> dict[str, str | float]:
    """How far the loss is off, and the angles between gradients: of all, and of the worst parameter."""
    cosines = {
        name: F.cosine_similarity(gradient.flatten().double(), outcome.gradients[name].flatten().double(), 0)
        for name, gradient in reference.gradients.items()
        if gradient.count_nonzero() > 0
    }
    worst = min(cosines, key=lambda name: cosines[name].item())
    whole = [torch.cat([each.flatten() for each in one.gradients.values()]) for one in (outcome, reference)]
    return {
        "loss": outcome.loss.item(),
        "relative_difference": ((outcome.loss - reference.loss).abs() / reference.loss).item(),
        "equal_labels": (outcome.labels == reference.labels).double().mean().item(),
        "cosine_of_gradients": F.cosine_similarity(whole[0].double(), whole[1].double(), 0).item(),
        "lowest_cosine": cosines[worst].item(),
        "of": worst,
    }


def equal(first: Outcome, second: Outcome) -> bool:
    """Bit for bit."""
    return torch.equal(first.loss, second.loss) and all(
        torch.equal(gradient, second.gradients[name]) for name, gradient in first.gradients.items()
    )
