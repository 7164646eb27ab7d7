import math

import pytest
import torch
import torch.nn.functional as F
from deploy_helpers import calibrated_network
from torch import Tensor, nn

from deploy.bounds import Bound
from deploy.rewrite import (
    Convolution,
    DepthwisePart,
    InferenceBlock,
    InferenceDecoder,
    InferenceHamburger,
    InferenceLISA,
    RowPReLU,
    fold_norm,
    for_inference,
)
from lisa.config import Config, DataConfig, ModelConfig
from lisa.models.lisa import LISA, EncoderBlock

TOLERANCE = 1e-5


def network(activation: str = "prelu", hamburger: str = "bottleneck") -> LISA:
    model = ModelConfig(activation=activation, hamburger=hamburger)  # pyright: ignore[reportArgumentType]
    trained = calibrated_network(Config(data=DataConfig(size=64), model=model))
    assert isinstance(trained, LISA)
    return trained


@pytest.fixture(scope="module")
def trained() -> LISA:
    return network()


def features(channels: int, side: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(2, channels, side, side, generator=generator).contiguous(
        memory_format=torch.channels_last
    )


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    assert (actual - expected).abs().max() < TOLERANCE * (1 + expected.abs().max())


def first_block(trained: LISA) -> EncoderBlock:
    block = trained.enc3[0]
    assert isinstance(block, EncoderBlock)
    return block


@torch.no_grad()
@pytest.mark.parametrize("onednn", [False, True])
def test_convolution_is_the_modules_own(trained: LISA, onednn: bool) -> None:
    strip = first_block(trained).msca.strips21[0]
    assert isinstance(strip, nn.Conv2d)
    rewritten = Convolution(strip.weight, strip.bias, strip.groups)
    rewritten.onednn = onednn
    x = features(strip.in_channels)
    assert_close(rewritten(x), F.conv2d(x, strip.weight, strip.bias, padding=(0, 10), groups=strip.groups))


@torch.no_grad()
def test_norm_is_folded_into_the_convolution(trained: LISA) -> None:
    unit = first_block(trained).unit
    x = features(unit.pointwise.in_channels)
    weight, bias = fold_norm(unit.pointwise, unit.pointwise_norm)
    assert_close(F.conv2d(x, weight, bias), unit.pointwise_norm(unit.pointwise(x)))


@torch.no_grad()
@pytest.mark.parametrize("channels", [slice(None), slice(0, 40), slice(40, None)])
def test_part_of_a_unit_gives_its_channels(trained: LISA, channels: slice) -> None:
    unit = first_block(trained).unit
    x = features(unit.depthwise.in_channels)
    expected = unit.activation(unit.depthwise_norm(unit.depthwise(x)))[:, channels]
    assert_close(DepthwisePart(unit, channels)(x[:, channels]), expected)


@torch.no_grad()
def test_prelu_over_rows_is_prelu() -> None:
    slopes = torch.linspace(-0.5, 1.5, 142)
    assert torch.equal(RowPReLU(slopes)(features(142)), F.prelu(features(142), slopes))


@torch.no_grad()
def test_encoder_block_without_its_residual_addition(trained: LISA) -> None:
    block = first_block(trained)
    x = features(block.unit.depthwise.in_channels)
    assert_close(InferenceBlock(block)(x), block(x))


@torch.no_grad()
def test_decoder_block_without_its_concatenation(trained: LISA) -> None:
    x, skip = features(320, 8), features(142, 16)
    assert_close(InferenceDecoder(trained.dec3, 320)(x, skip), trained.dec3(x, skip))


@torch.no_grad()
def test_classifier_merges_into_the_last_decoder_block(trained: LISA) -> None:
    x, skip = features(64, 8), features(32, 16)
    merged = InferenceDecoder(trained.dec1, 64, trained.final)
    assert_close(merged(x, skip), trained.final(trained.dec1(x, skip)))


@torch.no_grad()
def test_hamburger_is_the_networks_own(trained: LISA) -> None:
    x = features(512, 4)
    assert_close(InferenceHamburger(trained.hamburger)(x), trained.hamburger(x))


@torch.no_grad()
@pytest.mark.parametrize(
    ("activation", "hamburger"), [("prelu", "nmf"), ("relu", "bottleneck"), ("gelu", "bottleneck")]
)
@pytest.mark.parametrize("shape", [(64, 64), (37, 90)])
def test_whole_network_in_all_its_variants(activation: str, hamburger: str, shape: tuple[int, int]) -> None:
    trained = network(activation, hamburger)
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    rewritten = for_inference(trained)
    assert isinstance(rewritten, InferenceLISA)
    assert_close(rewritten(x), trained(x))
    assert_close(trained(x), network(activation, hamburger)(x))  # the trained network is left as it was


@torch.no_grad()
@pytest.mark.parametrize("shape", [(64, 128), (37, 90)])
def test_folded_network(shape: tuple[int, int]) -> None:
    trained = calibrated_network(Config(data=DataConfig(size=64), model=ModelConfig(name="lisa_fold4")))
    rewritten = for_inference(trained)
    assert isinstance(rewritten, InferenceLISA)
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    assert_close(rewritten(x), trained(x))


@torch.no_grad()
@pytest.mark.parametrize(("own", "measured"), [(0.5, math.inf), (0.5, 3.0), (3.0, 0.5)])
def test_both_bounds_hold(own: float, measured: float) -> None:
    bounded = calibrated_network(Config(data=DataConfig(size=64), model=ModelConfig(bound=own)))
    tighter = calibrated_network(Config(data=DataConfig(size=64), model=ModelConfig(bound=0.5)))
    blocks = sum(isinstance(module, EncoderBlock) for module in bounded.modules())
    free = calibrated_network(Config(data=DataConfig(size=64), model=ModelConfig()))
    for other in (tighter, free):
        other.load_state_dict(bounded.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    rewritten = for_inference(bounded, [Bound(measured, measured)] * blocks)
    assert_close(rewritten(x), tighter(x))
    assert (tighter(x) - free(x)).abs().max() > 0.1 * free(x).abs().max()  # the bound is reached


def test_other_networks_are_left_alone() -> None:
    other = nn.Conv2d(3, 19, 1)
    assert for_inference(other) is other
