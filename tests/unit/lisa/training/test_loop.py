"""The loop in one process: what it leaves behind, and that a stopped run ends as if nothing had happened."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_helpers import write_published

from lisa.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.data.folders import find_pairs
from lisa.errors import DivergedError, InputError
from lisa.evaluation.evaluate import evaluate
from lisa.evaluation.metrics import figures
from lisa.losses import SegmentationLoss
from lisa.models import build, from_published
from lisa.run import checkpoint
from lisa.training.loop import Result, fit
from lisa.training.precision import settle_precision
from lisa.training.state import TrainState, step_seed
from lisa.training.step import MAX_SKIPPED, Step
from lisa.world import World


def small(root: Path, output: Path, epochs: int = 2, patience: int = 20) -> Config:
    return Config(
        data=DataConfig(root=str(root), size=32, workers=0),
        optim=OptimConfig(ema_decay=0.9),
        train=TrainConfig(epochs=epochs, batch_size=2, patience=patience),
        output=str(output),
    )


def test_a_run_leaves_checkpoints_logs_and_figures(make_faces: Callable[..., Path], tmp_path: Path):
    heard: list[dict[str, Any]] = []
    config = small(make_faces(train=5), tmp_path / "run")
    result = fit(config, World(), on_epoch=heard.append)
    assert result.finished
    assert [record["epoch"] for record in heard] == [1, 2]
    best = checkpoint.load(tmp_path / "run/best.pt")
    assert best["metrics"]["miou"] == result.best_miou == max(record["miou"] for record in heard)
    settled = settle_precision(config, World())
    assert Config.from_dict(best["config"]) == settled != config
    assert Config.from_json((tmp_path / "run/config.json").read_text()) == settled
    assert list((tmp_path / "run/tensorboard").iterdir())
    assert {"parts", "reason"} & set(best["arrangement"]), "five faces may be too few to say more"
    assert checkpoint.load(tmp_path / "run/last.pt")["arrangement"] == best["arrangement"]


def test_resuming_a_finished_run_does_nothing(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run", epochs=1)
    first = fit(config, World())
    assert fit(config, World(), resume=True) == Result(first.best_miou, 1, 1, finished=True)


def test_a_folder_that_holds_a_run_is_refused(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    nowhere = dataclasses.replace(config, data=DataConfig(root="nowhere"))
    for other in (config, nowhere):  # before any picture is read
        with pytest.raises(InputError, match="holds a run: go on with --resume"):
            fit(other, World())
    for name in ("last.pt", "previous.pt"):  # best.pt and the logs may be all that somebody keeps
        (tmp_path / "run" / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match="holds a run"):
        fit(config, World())


def test_resuming_with_another_network_is_refused(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run", epochs=1)
    fit(config, World())
    other = dataclasses.replace(config, model=ModelConfig(activation="relu"))
    with pytest.raises(
        InputError, match=r"trained .*activation='prelu'.* the config says .*activation='relu'"
    ):
        fit(other, World(), resume=True)
    settled = settle_precision(config, World())
    assert Config.from_json((tmp_path / "run/config.json").read_text()) == settled


def test_a_run_begins_with_another_ones_weights(make_faces: Callable[..., Path], tmp_path: Path):
    """A second stage at a larger size; once it has begun it no longer needs the first."""
    first = small(make_faces(), tmp_path / "first", epochs=1)
    fit(first, World())
    weights = checkpoint.load(tmp_path / "first/best.pt")["weights"]
    started = TrainConfig(init=str(tmp_path / "first/best.pt"), epochs=1, batch_size=2)
    still = OptimConfig(lr=1e-12, min_lr=0, ema_decay=0)
    second = small(Path(first.data.root), tmp_path / "second")
    second = dataclasses.replace(second, data=dataclasses.replace(second.data, size=48), optim=still)
    second = dataclasses.replace(second, train=started)
    fit(second, World())
    begun = checkpoint.load(tmp_path / "second/last.pt")["weights"]
    parameters = dict(build(first.model).named_parameters())
    assert all(torch.allclose(begun[name], weights[name], atol=1e-9) for name in parameters)

    (tmp_path / "first/best.pt").unlink()
    longer = dataclasses.replace(second, train=dataclasses.replace(started, epochs=2))
    assert fit(longer, World(), resume=True).epochs == 2
    with pytest.raises(InputError, match=r"first/best\.pt: No such file"):
        fit(dataclasses.replace(longer, output=str(tmp_path / "third")), World())
    assert not (tmp_path / "third/last.pt").exists()


def test_a_run_begins_with_the_published_weights_and_says_so(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = write_published(tmp_path / "best_model.pth")
    config = small(make_faces(), tmp_path / "run", epochs=1)
    still = dataclasses.replace(config, optim=OptimConfig(lr=1e-12, min_lr=0, ema_decay=0))
    fit(dataclasses.replace(still, train=dataclasses.replace(config.train, init=str(path))), World())
    begun = checkpoint.load(tmp_path / "run/last.pt")
    assert "origin" not in begun  # its figures are of this run
    weights = from_published(path).named_parameters()
    assert all(torch.allclose(begun["weights"][name], value, atol=1e-9) for name, value in weights)
    line = f"{path}: {checkpoint.PUBLISHED}"
    assert capsys.readouterr().out.splitlines().count(line) == 1
    assert line in (tmp_path / "run/logs/rank0.log").read_text()


def test_early_stopping(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(), tmp_path / "run", epochs=30, patience=1)
    # A rate this small changes no prediction, so that no epoch is better than the first.
    still = dataclasses.replace(config, optim=OptimConfig(lr=1e-12, min_lr=0, ema_decay=0))
    result = fit(still, World())
    assert result.finished
    assert result.epochs == result.best_epoch + 1 < 30


def test_unwritable_output(make_faces: Callable[..., Path], tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        fit(small(make_faces(), tmp_path / "file/run"), World())


def test_an_empty_data_folder_leaves_nothing_to_resume(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no split 'train' here"):
        fit(small(tmp_path / "empty", tmp_path / "run"), World())
    assert not (tmp_path / "run").exists()


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


def test_views_show_each_picture_so_many_times(make_faces: Callable[..., Path], tmp_path: Path):
    config = small(make_faces(train=4), tmp_path / "run", epochs=1)
    heard: list[dict[str, Any]] = []
    three = dataclasses.replace(config, train=TrainConfig(epochs=1, batch_size=2, views=3))
    fit(three, World(), on_epoch=heard.append)
    assert heard[0]["step"] == 6


def test_the_better_of_raw_and_averaged_weights_is_kept(make_faces: Callable[..., Path], tmp_path: Path):
    heard: list[dict[str, Any]] = []
    config = small(make_faces(), tmp_path / "run", epochs=2)
    fit(config, World(), on_epoch=heard.append)
    for record in heard:
        assert record["miou"] == max(record["miou_by_weights"].values())
        assert record["miou_by_weights"][record["weights"]] == record["miou"]
    kept = checkpoint.load_network(tmp_path / "run/best.pt")
    tally = evaluate(kept.network, 32, find_pairs(config.data.root, "val"), World()).tally
    assert figures(tally)["miou"] == max(record["miou"] for record in heard)


def test_a_run_that_diverges_leaves_its_last_good_weights(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = small(make_faces(train=4), tmp_path / "run")
    diverging = dataclasses.replace(config, train=TrainConfig(epochs=6, batch_size=2))
    forward = SegmentationLoss.forward
    with monkeypatch.context() as patch:
        patch.setattr(SegmentationLoss, "forward", lambda *inputs: forward(*inputs) * float("nan"))
        with pytest.raises(DivergedError, match=r"last good checkpoint is .*run/last\.pt"):
            fit(diverging, World())
    assert all(
        value.isfinite().all() for value in checkpoint.load(tmp_path / "run/last.pt")["weights"].values()
    )
    resumed = fit(diverging, World(), resume=True)
    assert (resumed.finished, resumed.epochs) == (True, 6)


def test_an_average_that_begins_late_begins_with_the_weights_so_far(tmp_path: Path):
    without = Config(optim=OptimConfig(ema_decay=0))
    torch.manual_seed(0)
    saved = TrainState(build(without.model), without, 1, World()).state_dict(World())
    state = TrainState(build(without.model), Config(), 1, World())
    state.load_state_dict(saved, "last.pt", World())
    for name, value in state.averaged.state_dict().items():
        assert torch.equal(value, saved["network"][name]), name
