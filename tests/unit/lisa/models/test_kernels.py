"""The fast backward passes give torch's gradients."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from lisa.config import LossConfig, ModelConfig
from lisa.losses import SegmentationLoss
from lisa.models import NETWORKS, build
from lisa.models.kernels.depthwise import DepthwiseConv2d
from lisa.models.kernels.fast_path import plain_kernels
from lisa.models.kernels.pointwise import PointwiseConv2d
from lisa.models.kernels.prelu import ChannelPReLU
from lisa.models.kernels.upsample import BilinearUpsample


@pytest.mark.parametrize("kernel", [(1, 7), (1, 21), (5, 5), (7, 1), (21, 1), (3, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(9, 30), (6, 5)])
def test_depthwise_gradients_equal_torchs(
    kernel: tuple[int, int], memory_format: torch.memory_format, bias: bool, shape: tuple[int, int]
):
    """Also for strips longer than the map."""
    fast = DepthwiseConv2d(6, kernel, bias=bias)
    plain = nn.Conv2d(6, 6, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=6, bias=bias)
    plain.load_state_dict(fast.state_dict())
    picture = torch.randn(2, 6, *shape).contiguous(memory_format=memory_format)
    upstream = torch.randn(2, 6, *shape)
    gradients: list[list[torch.Tensor]] = []
    for layer in (fast, plain):
        leaf = picture.clone().requires_grad_()
        output = layer(leaf)
        gradients.append([output, *torch.autograd.grad(output, [leaf, *layer.parameters()], upstream)])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize("kernel", [(1, 5), (1, 9), (5, 1)])
def test_depthwise_gradcheck(kernel: tuple[int, int]):
    layer = DepthwiseConv2d(2, kernel).double()
    picture = torch.randn(1, 2, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (picture,))


def test_prelu_gradcheck():
    layer = ChannelPReLU(3).double()
    picture = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (picture,))


@pytest.mark.parametrize("block", [1, 20, 2**18])
def test_prelu_gradients_equal_torchs(block: int, monkeypatch: pytest.MonkeyPatch):
    """A pixel at a time, in blocks of which the last is smaller, all at once."""
    monkeypatch.setattr("lisa.models.kernels.prelu.BLOCK", block)
    fast, plain = ChannelPReLU(3), nn.PReLU(3)
    picture = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    picture[0, 0, 0, 0] = 0.0
    gradients: list[list[torch.Tensor]] = []
    for layer in (fast, plain):
        leaf = picture.clone().requires_grad_()
        gradients.append(list(torch.autograd.grad(layer(leaf).square().sum(), [leaf, layer.weight])))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5, 8, 8), (1, 5, 16, 16), (2, 5, 3, 3), (16, 5, 4, 4)])
def test_pointwise_equals_torchs_convolution(shape: tuple[int, int, int, int]):
    """Pictures of 9 pixels can't be dealt out to sixteen and take the plain way."""
    fast, plain = PointwiseConv2d(5, 7), nn.Conv2d(5, 7, 1)
    plain.load_state_dict(fast.state_dict())
    picture = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    gradients: list[list[torch.Tensor]] = []
    for layer in (fast, plain):
        leaf = picture.clone().requires_grad_()
        output = layer(leaf)
        gradients.append([output, *torch.autograd.grad(output.square().sum(), [leaf, *layer.parameters()])])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    assert gradients[0][0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3, 4, 5), (8, 10)), ((1, 2, 1, 3), (2, 6)), ((1, 2, 1, 1), (2, 2))]
)
def test_upsample_gradients_equal_torchs(shape: tuple[int, int, int, int], size: tuple[int, int]):
    """Also from maps of one row or one pixel, which the deepest stage has of tiny pictures."""
    upsample = BilinearUpsample()
    picture = torch.randn(shape).contiguous(memory_format=torch.channels_last)
    # Behind a concatenation the gradient is a slice of a wider map.
    upstream = torch.randn(shape[0], shape[1] + 2, *size).contiguous(memory_format=torch.channels_last)
    gradients: list[torch.Tensor] = []
    for kernels in (nullcontext(), plain_kernels()):
        with kernels:
            leaf = picture.clone().requires_grad_()
            output = upsample(leaf, *size)
            gradients.append(torch.autograd.grad(output, leaf, upstream[:, : shape[1]])[0])
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [DepthwiseConv2d(20, (1, 7)), DepthwiseConv2d(20, (1, 21)), ChannelPReLU(20)]
)
def test_layers_in_bf16_have_bf16s_gradients(layer: nn.Module):
    """Under autocast, the fast and the plain gradients of one layer differ by rounding."""
    picture = torch.randn(2, 20, 6, 12).bfloat16().contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(2, 20, 6, 12).bfloat16()
    gradients: list[torch.Tensor] = []
    for kernels in (nullcontext(), plain_kernels()):
        leaf = picture.clone().requires_grad_()
        with kernels, torch.autocast("cpu", torch.bfloat16):
            output = layer(leaf)
        found = torch.autograd.grad(output, [leaf, *layer.parameters()], upstream)
        assert [each.dtype for each in (output, *found)] == [torch.bfloat16] * 2 + [torch.float32] * (
            len(found) - 1
        )
        gradients.append(torch.cat([each.float().flatten() for each in found]))
    assert nn.functional.cosine_similarity(*gradients, dim=0) > 0.9999


def test_upsample_in_bf16_has_float32s_gradient():
    upstream = torch.randn(2, 3, 8, 10)
    gradients: list[torch.Tensor] = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = torch.randn(2, 3, 4, 5).to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output = BilinearUpsample()(leaf, 8, 10)
        assert output.dtype == dtype
        gradients.append(torch.autograd.grad(output, leaf, upstream.to(dtype))[0].float())
    assert torch.allclose(*gradients, rtol=1e-2, atol=1e-1)


def test_upsample_gradcheck():
    picture = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: BilinearUpsample()(x, 6, 8), (picture,))


def test_narrow_strips_come_back_in_bf16():
    """oneDNN's own kernel for these never returns."""
    layer = DepthwiseConv2d(8, (1, 21))
    picture = torch.randn(1, 8, 4, 40).bfloat16().contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(picture)
        with torch.no_grad():
            assert torch.equal(layer(picture), output)
    output.sum().backward()
    assert output.dtype == torch.float32
    assert layer.weight.grad is not None


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_fast_and_plain_gradients_agree(name: str, bf16: bool):
    """Loss to 1e-5 (bf16: 1e-2), gradients' cosine above 0.999, on the same weights and batch."""
    network = build(ModelConfig(name=name)).train().to(memory_format=torch.channels_last)  # pyright: ignore
    # Folded, 64 pixels end as one, whose BatchNorm knows no gradient.
    side = 128 if name == "lisa_fold4" else 64
    pictures, masks = torch.randn(2, 3, side, side), torch.randint(0, 19, (2, side, side))
    losses: list[float] = []
    gradients: list[torch.Tensor] = []
    for kernels in (nullcontext(), plain_kernels()):
        torch.manual_seed(0)  # SegNeXt's stochastic depth
        network.zero_grad()
        with kernels:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = network(pictures)
            loss = SegmentationLoss(LossConfig())(logits, masks)
            loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-2 if bf16 else 1e-5)
    assert nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
