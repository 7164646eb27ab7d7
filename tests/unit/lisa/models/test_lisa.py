"""LISA's own: counts by module, shapes, the published weights, the numeric oracle."""

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import timm
import torch

from lisa.config import ModelConfig
from lisa.errors import InputError
from lisa.models import LISA, build, count_parameters, from_published
from lisa.models.blocks import NMF2d
from lisa.models.lisa import EncoderBlock
from lisa.run.checkpoint import load_network

ORACLE = Path(__file__).parents[5] / "shared" / "oracle"
COUNTS = {
    "enc1": 4_772,
    "enc2": 29_952,
    "enc3": 104_144,
    "enc4": 675_304,
    "enc5": 487_680,
    "hamburger": 328_704,
    "dec4": 276_864,
    "dec3": 71_432,
    "dec2": 15_784,
    "dec1": 4_288,
    "final": 627,
}


def test_has_exactly_the_reports_parameters():
    network = LISA()
    assert count_parameters(network) == 1_999_551
    assert {name: count_parameters(child) for name, child in network.named_children()} == COUNTS


def test_timm_builds_it():
    network = timm.create_model("lisa", num_classes=7)
    assert isinstance(network, LISA)
    assert network.final.out_channels == 7


def test_padding_does_not_change_multiples_of_16():
    network = LISA().eval()
    picture = torch.rand(1, 3, 32, 32)
    padded = torch.nn.functional.pad(picture, [0, 16, 0, 0], mode="replicate")
    cropped = network(padded[..., :40])
    assert torch.allclose(cropped, network(padded)[..., :40], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lisa", "lisa_fold4"])
def test_bounds_stop_the_growth_from_block_to_block(name: str):
    torch.manual_seed(0)
    free, bounded = timm.create_model(name), timm.create_model(name, bound=8.0)
    bounded.load_state_dict(free.state_dict())  # no parameter and no buffer more
    picture = torch.randn(1, 3, 64, 64)
    for network in (free, bounded):
        network.train()(picture.repeat(2, 1, 1, 1))
        network.eval()
    assert torch.equal(free(picture), bounded(picture))
    blocks: list[float] = []
    for module in bounded.modules():
        if isinstance(module, EncoderBlock):
            module.register_forward_hook(lambda _, __, out: blocks.append(out.abs().max().item()))
    assert not free(1e4 * picture).abs().max() < 1e10
    bounded(1e4 * picture)
    assert 8 < max(blocks) <= 8 + 8 * 8


def test_the_published_network_has_no_bounds():
    assert build(ModelConfig()).enc1[0].bound == math.inf  # pyright: ignore
    assert build(ModelConfig(bound=8)).enc5[0].msca.bound == 8  # pyright: ignore


def test_a_bounded_network_trains_and_scripts():
    network = LISA(bound=1)
    network(torch.rand(2, 3, 32, 32)).mean().backward()
    first = network.enc1[0].unit.depthwise.weight.grad  # pyright: ignore
    assert isinstance(first, torch.Tensor)
    assert first.abs().max() > 0
    network.eval()
    picture, free = 50 * torch.randn(1, 3, 32, 32), LISA().eval()
    free.load_state_dict(network.state_dict())
    with torch.no_grad():
        found = torch.jit.script(network)(picture)
        assert torch.allclose(found, network(picture), atol=1e-5)
        assert not torch.allclose(found, free(picture), atol=1e-3)


def test_bounds_that_are_none_are_refused():
    with pytest.raises(ValueError, match="bound 0: above 0"):
        LISA(bound=0)
    assert ModelConfig(name="segnext", bound=8.0).bound == 0


@pytest.mark.parametrize("activation", ["prelu", "relu", "gelu"])
@pytest.mark.parametrize("hamburger", ["bottleneck", "nmf"])
def test_variants_train_and_script(activation: str, hamburger: str):
    network = LISA(activation=activation, hamburger=hamburger)
    network(torch.rand(2, 3, 32, 32)).mean().backward()
    without_gradient = [name for name, value in network.named_parameters() if value.grad is None]
    assert without_gradient == []
    network.eval()
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(picture), network(picture), atol=1e-6)


def test_nmf_adds_no_parameters_and_repeats():
    network = LISA(hamburger="nmf").eval()
    assert count_parameters(network) == 1_999_551
    picture = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(picture), network(picture))


@torch.no_grad()
def test_nmf_keeps_what_has_its_rank_and_nothing_else():
    nmf, rank = NMF2d(32, rank=4, eval_steps=200).eval(), 2
    low = (torch.rand(2, 32, rank) @ torch.rand(2, rank, 64)).view(2, 32, 8, 8)
    full = torch.rand(2, 32, 8, 8)
    found = nmf(full)
    assert (nmf(low) - low).norm() < 0.02 * low.norm()
    assert (found - full).norm() > 0.2 * full.norm()
    assert torch.linalg.matrix_rank(found.flatten(2), rtol=1e-4).tolist() == [4, 4]


def test_nmf_is_computed_in_float32_under_autocast():
    nmf, features = NMF2d(32), torch.rand(2, 32, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        inside = nmf(features)
    assert torch.equal(inside, nmf(features))


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="activation 'swish'"):
        LISA(activation="swish")
    with pytest.raises(ValueError, match="hamburger 'double'"):
        LISA(hamburger="double")


def test_the_cap_is_a_law():
    with pytest.raises(InputError, match="1,999,551 trainable parameters, the cap is 1,999,551"):
        build(ModelConfig(max_parameters=1_999_551))
    assert count_parameters(build(ModelConfig(max_parameters=1_999_552))) == 1_999_551


@pytest.fixture
def fill() -> ModuleType:
    if not ORACLE.is_dir():
        pytest.skip("the oracle is not here")
    spec = importlib.util.spec_from_file_location("fill", ORACLE / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_agrees_with_the_published_implementation(fill: ModuleType, tmp_path: Path):
    state = fill.filled(json.loads((ORACLE / "reference_keys.json").read_text()), 0)
    torch.save(state, tmp_path / "best_model.pth")
    expected = torch.from_numpy(np.load(ORACLE / "logits_A.npz")["logits"])
    for network in (from_published(state).eval(), load_network(tmp_path / "best_model.pth").network):
        with torch.no_grad():
            logits = network(fill.picture(0, 64, 64))
        assert (logits - expected).abs().max() < 1e-5


def test_published_faults_are_named(fill: ModuleType):
    state = fill.filled(json.loads((ORACLE / "reference_keys.json").read_text()), 0)
    del state["enc5.conv.project.bn.weight"]
    state["hamburger.conv1.bias"] = torch.zeros(3)
    state["surplus"] = torch.zeros(1)
    with pytest.raises(InputError) as caught:
        from_published(state)
    message = str(caught.value)
    assert "missing: enc5.conv.project.bn.weight" in message
    assert "shape of hamburger.conv1.bias: (3,), expected (256,)" in message
    assert "unknown: surplus" in message
