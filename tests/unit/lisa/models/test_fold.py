"""lisa_fold4: LISA's plan on squares of 4x4 pixels."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from lisa.config import RECIPES, Config, ModelConfig
from lisa.config.shapes import SHAPES
from lisa.errors import InputError
from lisa.labels import Label, LabelSet, read_label_set
from lisa.models import LISA, build
from lisa.models.classifier import carry_over

FOLDED = ModelConfig(name="lisa_fold4", widths=(8, 8, 12, 12, 16), depths=(1, 1, 1, 1, 1))


@pytest.mark.parametrize(("name", "least", "most"), [("lisa", 25.3, 25.4), ("lisa_fold4", 3, 4)])
def test_operations_of_a_picture_of_512(name: str, least: float, most: float):
    with torch.device("meta"):
        network, picture = timm.create_model(name).eval(), torch.zeros(1, 3, 512, 512)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(picture)
    assert least < counter.get_total_flops() / 1e9 < most


def test_each_pixel_of_a_square_has_its_own_rows_of_the_classifier():
    network = build(FOLDED, 3).eval()
    assert isinstance(network, LISA)
    with torch.no_grad():
        network.final.weight.zero_()
        network.final.bias = torch.nn.Parameter(torch.arange(48.0))
        logits = network(torch.rand(1, 3, 70, 66))[0]
    for index, y, x in ((0, 0, 0), (1, 5, 2), (2, 69, 65)):
        assert logits[index, y, x] == 16 * index + 4 * (y % 4) + x % 4


def test_pixels_reach_the_logits_of_their_own_place():
    """The gradient of one place's logits is largest there."""
    network = build(FOLDED, 3).double().eval()
    picture = torch.rand(1, 3, 512, 512, dtype=torch.float64, requires_grad=True)
    network(picture)[0, :, 201, 310].sum().backward()
    assert picture.grad is not None
    row, column = divmod(int(picture.grad.abs().sum((0, 1)).argmax()), 512)
    assert abs(row - 201) < 8
    assert abs(column - 310) < 8


def test_lisas_own_shape_stands_for_the_networks_own():
    for make in RECIPES.values():
        config = replace(make(), model=replace(make().model, name="lisa_fold4"))
        assert config.model.widths == SHAPES["lisa_fold4"].widths
        assert Config.from_json(json.dumps(config.to_dict())) == config
    assert FOLDED.widths == (8, 8, 12, 12, 16)
    assert ModelConfig().widths == SHAPES["lisa"].widths


def test_over_the_cap():
    with pytest.raises(InputError, match=r"widths \(64, 128, 256, 384, 512\).* trainable parameters"):
        Config(model=ModelConfig(name="lisa_fold4", widths=(64, 128, 256, 384, 512)))


def test_a_label_takes_its_whole_block_of_rows_along():
    celebamask = read_label_set("celebamask")
    ours = LabelSet(
        "mine", (celebamask.labels[0], Label("beard", (7, 8, 9), ("beard",)), celebamask.labels[13])
    )
    trained, fresh = build(FOLDED, 19), build(FOLDED, 3)
    before = fresh.state_dict()["final.weight"].clone()
    weights, _ = carry_over(trained.state_dict(), fresh, celebamask, ours)
    fresh.load_state_dict(weights)
    old, new = trained.state_dict()["final.weight"], fresh.state_dict()["final.weight"]
    assert torch.equal(new[:16], old[:16])
    assert torch.equal(new[16:32], before[16:32])
    assert torch.equal(new[32:], old[13 * 16 : 14 * 16])
    assert torch.equal(fresh.state_dict()["final.bias"][32:], trained.state_dict()["final.bias"][208:224])


def test_rows_of_an_unfolded_network_are_not_taken_for_squares():
    celebamask, theirs = read_label_set("celebamask"), read_label_set("face-synthetics")
    plain = build(replace(FOLDED, name="lisa"), 19)
    weights, line = carry_over(plain.state_dict(), build(FOLDED, 19), celebamask, theirs)
    assert line == ""
    assert weights["final.weight"].shape[0] == 19
    odd = {key: value[:5] for key, value in plain.state_dict().items() if key.startswith("final.")}
    assert carry_over(odd, build(FOLDED, 19), celebamask, theirs) == (odd, "")
