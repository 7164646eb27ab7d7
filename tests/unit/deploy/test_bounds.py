import math

import pytest
import torch
from deploy_helpers import SIZE, calibrated_network
from torch import Tensor

from deploy.bounds import UNBOUNDED, Bound, measure_bounds
from deploy.rewrite import InferenceLISA, InferenceMSCA, for_inference
from lisa.config import Config, DataConfig, ModelConfig
from lisa.data.synthetic import draw_face
from lisa.face_parser import FaceParser
from lisa.models.blocks import MSCA

CALIBRATION = range(6)


def faces(seeds: range = CALIBRATION) -> list[Tensor]:
    return [torch.from_numpy(draw_face(seed, SIZE)[0].copy()).permute(2, 0, 1)[None] for seed in seeds]


def parser(name: str = "lisa") -> FaceParser:
    """A network whose attention is strong enough to explode, as some trained ones' is."""
    network = calibrated_network(Config(data=DataConfig(size=SIZE), model=ModelConfig(name=name)))
    for module in network.modules():
        if isinstance(module, MSCA):
            module.mix.weight.data *= 4
    return FaceParser.for_prediction(network, SIZE)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lisa", "lisa_fold4"])
def test_bounds_stop_an_explosion_and_leave_ordinary_pictures_alone(name: str) -> None:
    trained = parser(name)
    bounds, _ = measure_bounds(trained, faces())
    assert len(bounds) == sum(isinstance(module, MSCA) for module in trained.network.modules())
    bounded = FaceParser.for_prediction(for_inference(trained.network, bounds), SIZE)
    for face in faces():
        expected = trained.logits(face)
        assert torch.allclose(
            bounded.logits(face), expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()
        )
    ordinary = trained.normalise(faces()[0])
    largest = trained.network(ordinary).abs().max()
    assert not trained.network(100 * ordinary).abs().max() < 1000 * largest  # it is NaN
    assert bounded.network(100 * ordinary).abs().max() < 10 * largest


@torch.no_grad()
def test_bounds_are_the_largest_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = parser()
    factors: list[list[float]] = []

    def forward(self: MSCA, x: Tensor) -> Tensor:
        local = self.local(x)
        mix = self.mix(local + self.strips7(local) + self.strips11(local) + self.strips21(local))
        factors.append([x.abs().max().item(), mix.abs().max().item()])
        return x * mix

    one, other = (measure_bounds(trained, [face]).bounds for face in faces(range(2)))
    both = measure_bounds(trained, faces(range(2))).bounds
    assert both == [
        Bound(max(a.features, b.features), max(a.mix, b.mix)) for a, b in zip(one, other, strict=True)
    ]
    monkeypatch.setattr(MSCA, "forward", forward)
    trained.logits(faces(range(1))[0])
    assert torch.allclose(torch.tensor(one), torch.tensor(factors), rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("logit", [1e12, math.nan])
def test_a_picture_that_explodes_says_nothing_of_ordinary_ones(logit: float) -> None:
    trained = parser()
    ordinary, calls = measure_bounds(trained, faces(range(2))), list[int]()

    def second_explodes(_: object, __: object, logits: Tensor) -> None:
        calls.append(0)
        logits[:, :, 3, 3] = logit if len(calls) == 2 else logits[:, :, 3, 3]

    def second_is_large(_: object, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * (1e3 if len(calls) == 1 else 1),)

    first = next(module for module in trained.network.modules() if isinstance(module, MSCA))
    handles = (
        first.register_forward_pre_hook(second_is_large),
        trained.network.register_forward_hook(second_explodes),
    )
    zero, one = faces(range(2))
    found = measure_bounds(trained, [zero, zero, one])
    for handle in handles:
        handle.remove()
    assert ordinary.sane == [True, True]
    assert found.sane == [True, False, True]
    assert found.bounds == ordinary.bounds


@torch.no_grad()
def test_the_networks_own_bounds_are_the_largest() -> None:
    trained = parser()
    for module in trained.network.modules():
        if isinstance(module, MSCA):
            module.bound = 0.5
    assert all(bound.mix == 0.5 for bound in measure_bounds(trained, faces()).bounds)


@torch.no_grad()
def test_without_bounds_nothing_is_clamped() -> None:
    network = for_inference(parser().network)
    assert isinstance(network, InferenceLISA)
    assert not any(module.bounded for module in network.modules() if isinstance(module, InferenceMSCA))
    assert Bound(1.0, 1.0) != UNBOUNDED
