"""Compiled steps are the eager ones: losses, gradients, checkpoints."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from resume_helpers import Stopped, assert_same_run, records
from torch import Tensor

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.errors import InputError
from lisa.models import build
from lisa.run import checkpoint
from lisa.training import passes
from lisa.training.loop import fit
from lisa.training.passes import require_compiler
from lisa.training.state import TrainState
from lisa.training.step import Step
from lisa.world import World

TINY = ModelConfig(widths=(4, 4, 6, 8, 8), depths=(1, 1, 1, 1, 1))
BASE = Config(data=DataConfig(size=32), model=TINY, train=TrainConfig(batch_size=4, precision="fp32"))
SHARES = (4, 4, 3)
"""Pictures of each step: an epoch's last batch is smaller."""

VARIANTS = {
    "blocks computed again": replace(
        BASE,
        model=replace(TINY, hamburger="nmf"),
        train=replace(BASE.train, activation_checkpointing=True),
    ),
    "in parts, within bounds": replace(
        BASE, model=replace(TINY, bound=0.5), train=replace(BASE.train, accumulate=2)
    ),
    "drop path": replace(BASE, model=ModelConfig(name="segnext"), data=DataConfig(size=64)),
}


class Steps(NamedTuple):
    losses: list[float]
    gradient: Tensor
    """The first step's, (parameters,)."""
    weights: dict[str, Tensor]


@pytest.fixture
def aot_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs of forward and backward, run by torch's own kernels: no compiler is needed."""
    monkeypatch.setattr(passes, "BACKEND", "aot_eager")


def steps(config: Config, compiled: bool, shares: tuple[int, ...] = SHARES) -> Steps:
    config = replace(config, train=replace(config.train, compile=compiled))
    torch.compiler.reset()
    torch.manual_seed(0)
    network = build(config.model)
    state = TrainState(network, config, 10, World())
    step = Step(config, World(), state)
    step.parts = config.train.accumulate
    step.join_ranks(4)
    step.wrapped.train()
    losses: list[float] = []
    gradients: list[Tensor] = []
    for number, count in enumerate(shares):
        torch.manual_seed(number)
        images = torch.randint(0, 256, (count, 3, config.data.size, config.data.size), dtype=torch.uint8)
        masks = torch.randint(0, 19, (count, config.data.size, config.data.size), dtype=torch.uint8)
        losses.append(step(images, masks, count).item())
        state.count_step(torch.zeros(()), count)
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    return Steps(losses, gradients[0], network.state_dict())


def apart(one: Tensor, other: Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.slow
@pytest.mark.usefixtures("aot_eager")
@pytest.mark.parametrize("name", VARIANTS)
def test_compiled_steps_equal_eager_ones(name: str):
    """Over steps of two batch sizes, on statistics that count each batch once."""
    eager, compiled = (steps(VARIANTS[name], compiled) for compiled in (False, True))
    assert compiled.losses == pytest.approx(eager.losses, rel=1e-5)
    assert apart(compiled.gradient, eager.gradient) < 1e-5
    assert compiled.weights.keys() == eager.weights.keys()
    for key, weight in eager.weights.items():
        if "running_" in key or "num_batches" in key:
            assert torch.allclose(compiled.weights[key], weight, rtol=1e-4, atol=1e-5), key


@pytest.mark.slow
@pytest.mark.usefixtures("aot_eager")
def test_compiled_steps_in_bf16_are_within_its_noise():
    """Of kernels of fewer than 17 channels too, which oneDNN never returns from in bf16."""
    bf16 = replace(BASE, train=replace(BASE.train, precision="bf16"))
    exact, eager, compiled = steps(BASE, False), steps(bf16, False), steps(bf16, True)
    assert compiled.losses == pytest.approx(eager.losses, rel=1e-3)
    assert apart(compiled.gradient, eager.gradient) < 1.5 * apart(eager.gradient, exact.gradient)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
def test_steps_that_inductor_compiles_equal_eager_ones():
    eager, compiled = (steps(BASE, compiled, shares=(4, 4)) for compiled in (False, True))
    assert compiled.losses == pytest.approx(eager.losses, rel=1e-5)
    assert apart(compiled.gradient, eager.gradient) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("aot_eager")
def test_a_compiled_run_is_resumed_compiled_or_not(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Bit for bit where it stays compiled; from one to the other as the same run but for rounding."""
    root = make_faces(train=5)

    def config(name: str, compiled: bool) -> Config:
        return Config(
            data=DataConfig(root=str(root), size=32, workers=0),
            model=TINY,
            optim=OptimConfig(ema_decay=0.9),
            train=TrainConfig(epochs=2, batch_size=2, precision="fp32", compile=compiled),
            output=str(tmp_path / name),
        )

    saved: dict[str, dict[str, Any]] = {}
    for name, before, after in (
        ("whole", True, True),
        ("on", True, True),
        ("off", True, False),
        ("eager", False, True),
    ):
        if name != "whole":
            assert not fit(config(name, before), Stopped()).finished
        assert fit(config(name, after), World(), resume=name != "whole").finished
        saved[name] = checkpoint.load(tmp_path / name / "last.pt")
    said = " ".join(capsys.readouterr().out.split())
    assert passes.ON_CPU in said
    assert "train.compile True -> False" in said
    assert "train.compile False -> True" in said
    assert_same_run(tmp_path / "whole", tmp_path / "on")
    for name in ("off", "eager"):
        assert saved[name]["weights"].keys() == saved["whole"]["weights"].keys()
        assert saved[name]["training"].keys() == saved["whole"]["training"].keys()
        losses = [
            [line["train_loss"] for line in records(tmp_path / each) if "train_loss" in line]
            for each in (name, "whole")
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_compiling_changes_no_names():
    names = [list(build(TINY).state_dict())]
    config = replace(BASE, train=replace(BASE.train, compile=True))
    network = build(TINY)
    state = TrainState(network, config, 1, World())
    Step(config, World(), state)
    assert state.ema is not None
    names += [list(network.state_dict()), list(state.ema.module.state_dict())]
    assert names[1:] == names[:1] * 2


@pytest.mark.slow
def test_a_machine_that_cannot_compile_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from torch._inductor import config, cpp_builder

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    cpp_builder.cpp_compiler_search.cache_clear()
    torch.compiler.reset()
    with pytest.raises(
        InputError, match=r"--train\.compile: torch\.compile does not work here: .*compiler"
    ) as found:
        require_compiler(torch.device("cpu"))
    assert "\n" not in str(found.value)
    cpp_builder.cpp_compiler_search.cache_clear()
