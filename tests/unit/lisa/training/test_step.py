"""One optimizer step: its parts, its norm, its seed, and steps without a finite gradient."""

import dataclasses

import pytest
import torch

from lisa.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.errors import DivergedError
from lisa.models import build
from lisa.training.state import TrainState, step_seed
from lisa.training.step import MAX_SKIPPED, Step
from lisa.world import World

PICTURES = 4


def make_step(config: Config) -> Step:
    """A step with BatchNorm on fixed statistics, in float64."""
    torch.manual_seed(0)
    network = build(config.model).double()
    made = Step(config, World(), TrainState(network, config, 1, World()))
    made.parts = config.train.accumulate
    for module in made.state.network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    return made


def gradients(config: Config, images: torch.Tensor, masks: torch.Tensor) -> list[torch.Tensor]:
    made = make_step(config)
    made.passes.normalise = lambda pictures: pictures  # pyright: ignore[reportAttributeAccessIssue]
    made._gradient(images, masks, PICTURES, 0.0)  # pyright: ignore[reportPrivateUsage]
    found = [parameter.grad for parameter in made.state.network.parameters() if parameter.grad is not None]
    assert len(found) == len(list(made.state.network.parameters()))
    return found


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_accumulation_equals_the_large_batch(parts: int):
    """Also for losses of a whole batch, and pixels without a label in one part more than in another."""
    narrow = ModelConfig(widths=(4, 8, 12, 16, 24))
    loss = LossConfig(cross_entropy=1, dice=1, lovasz=1)
    whole = Config(model=narrow, loss=loss, train=TrainConfig(batch_size=4))
    split = dataclasses.replace(whole, train=TrainConfig(batch_size=4, accumulate=parts))
    images, masks = torch.rand(4, 3, 32, 32).double(), torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8)
    masks[0, :20] = 255
    masks[1][masks[1] == 7] = 8
    for one, other in zip(gradients(whole, images, masks), gradients(split, images, masks), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_both_forward_passes_of_an_accumulated_step_are_the_same():
    """Drop path (SegNeXt's) draws alike in both; BatchNorm's statistics count each part once."""
    torch.manual_seed(0)
    config = Config(
        data=DataConfig(size=32),
        model=ModelConfig(name="segnext"),
        train=TrainConfig(batch_size=4, accumulate=2, precision="fp32"),
    )
    made = make_step(config)
    made.state.network.float().train()
    seen: list[torch.Tensor] = []
    made.state.network.register_forward_hook(lambda module, inputs, logits: seen.append(logits.detach()))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    made(images, torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8), PICTURES)
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])
    counts = [each for name, each in made.state.network.named_buffers() if "num_batches_tracked" in name]
    assert {int(count) for count in counts} == {2}


def test_a_batch_of_fewer_pictures_than_parts_has_a_part_for_each():
    """An epoch's last batch may be one picture smaller; an empty part would spoil BatchNorm's statistics."""
    config = Config(
        data=DataConfig(size=32),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        train=TrainConfig(batch_size=4, accumulate=4, precision="fp32"),
    )
    made = make_step(config)
    made.state.network.float().train()
    seen: list[int] = []
    made.state.network.register_forward_hook(lambda module, inputs, logits: seen.append(len(logits)))
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    made(images, torch.randint(0, 19, (3, 32, 32), dtype=torch.uint8), 3)
    assert seen == 6 * [1]
    assert made.state.skipped == 0


def test_a_narrow_network_accumulates_in_bf16():
    """Its forward pass without gradient must keep away from the kernel that never returns, too."""
    config = Config(
        data=DataConfig(size=32),
        model=ModelConfig(widths=(4, 8, 12, 16, 24)),
        train=TrainConfig(batch_size=4, accumulate=2, precision="bf16"),
    )
    made = make_step(config)
    made.state.network.float().train()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    loss = made(images, torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8), PICTURES)
    assert 3 < loss < 6
    assert made.state.skipped == 0


def test_a_step_scales_its_gradients_down_to_the_configs_norm():
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    masks = torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8)
    norms: list[float] = []
    for clip_norm in (0.0, 0.01):
        config = Config(data=DataConfig(size=32), train=TrainConfig(batch_size=4, precision="fp32"))
        made = make_step(dataclasses.replace(config, optim=OptimConfig(clip_norm=clip_norm)))
        made.state.network.float().train()
        made(images, masks, PICTURES)
        gradients = [each.grad for each in made.state.network.parameters() if each.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())
    assert norms[0] > 0.1
    assert norms[1] == pytest.approx(0.01, rel=1e-3)


def test_steps_and_ranks_draw_from_seeds_of_their_own():
    seeds = [step_seed(seed, step, rank) for seed in (0, 1) for step in range(50) for rank in range(8)]
    assert len(set(seeds)) == len(seeds)
    assert step_seed(0, 3, 1) == step_seed(0, 3, 1)


def not_finite(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return logits.sum() * float("nan")


def test_ten_steps_without_finite_gradient_change_nothing_and_stop(monkeypatch: pytest.MonkeyPatch):
    config = Config(data=DataConfig(size=32), train=TrainConfig(batch_size=4))
    made = make_step(config)
    made.state.network.float().train()
    state = made.state
    before = {name: value.clone() for name, value in made.state.network.state_dict().items()}
    average = {name: value.clone() for name, value in state.averaged.state_dict().items()}
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    masks = torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr(made.passes.loss, "forward", not_finite)
    for _ in range(MAX_SKIPPED - 1):
        made(images, masks, PICTURES)
    made.require_progress()
    assert state.skipped == state.skipped_in_a_row == MAX_SKIPPED - 1
    for moments in state.optimizer.state.values():
        assert not any(value.any() for value in moments.values())
    for name, value in made.state.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in state.averaged.state_dict().items():
        assert torch.equal(value, average[name]), name
    made(images, masks, PICTURES)
    monkeypatch.undo()
    made(images, masks, PICTURES)  # too late: nothing is trained before the host has heard
    for name, value in made.state.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    with pytest.raises(DivergedError, match=r"no finite gradient for 10 steps.*last good checkpoint is"):
        made(images, masks, PICTURES)
    assert state.skipped_in_a_row == 0  # a resumed run has as many tries again


def test_a_skipped_step_leaves_what_the_steps_before_it_made(monkeypatch: pytest.MonkeyPatch):
    """Weights, moments, statistics and the average go on as if it had not been."""
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    masks = torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8)
    config = Config(data=DataConfig(size=32), train=TrainConfig(batch_size=4, precision="fp32"))
    found: list[dict[str, torch.Tensor]] = []
    for spoiled in (False, True):
        made = make_step(config)
        made.state.network.float().train()
        for number in range(4):
            made.state.batch = number
            if spoiled:
                with monkeypatch.context() as patch:
                    patch.setattr(made.passes.loss, "forward", not_finite)
                    made(images, masks, PICTURES)
            made(images, masks, PICTURES)
        moments = made.state.optimizer.state_dict()["state"]
        assert made.state.skipped == 4 * spoiled
        found.append(
            {
                **made.state.network.state_dict(),
                **{f"average {name}": each for name, each in made.state.averaged.state_dict().items()},
                **{f"{name} {key}": each for name, one in moments.items() for key, each in one.items()},
            }
        )
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name
