"""Evaluation decodes once for several networks, and takes pictures of one size together on a GPU."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deploy.predictor.model import SANE
from lisa.config import LossConfig, ModelConfig
from lisa.data import faces as reading
from lisa.data.faces import DecodedFace, FaceDataset
from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair
from lisa.errors import InputError
from lisa.evaluation import evaluate as evaluation
from lisa.evaluation.evaluate import SANE_LOGIT, by_size, evaluate, evaluate_all, require_room
from lisa.evaluation.metrics import figures
from lisa.evaluation.table import class_table
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.world import World

NARROW = ModelConfig(widths=(4, 8, 12, 16, 24))


def face(height: int, width: int, number: int) -> DecodedFace:
    return DecodedFace(torch.zeros(3, height, width), torch.full((height, width), number), number)


def test_faces_are_grouped_by_size_and_large_ones_are_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 2 * 4 * 4)
    faces = [face(4, 4, 0), face(2, 8, 1), face(4, 4, 2), face(4, 4, 3), face(9, 9, 4), face(9, 9, 5)]
    groups = by_size(faces)
    assert [group.numbers for group in groups] == [[0, 2], [3], [1], [4], [5]]
    assert groups[0].images.shape == (2, 3, 4, 4)
    assert [int(mask[0, 0]) for mask in groups[0].masks] == [0, 2]


def test_large_pictures_with_small_masks_are_alone_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 2 * 8 * 8)
    faces = [DecodedFace(torch.zeros(3, 16, 16), torch.zeros(4, 4), number) for number in range(2)]
    assert [group.numbers for group in by_size(faces)] == [[0], [1]]


def test_a_picture_without_a_pixel_that_counts_has_no_loss(make_faces: Callable[..., Path]):
    """Its 0 would make the mean too good."""
    pairs = find_pairs(make_faces(val=3), "val")
    network, loss = build(NARROW), SegmentationLoss(LossConfig())
    before = evaluate(network, 32, pairs, World(), loss).losses
    with Image.open(pairs[1].mask) as mask:
        mask.point([255] * 256).save(pairs[1].mask)
    after = evaluate(network, 32, pairs, World(), loss).losses
    assert after.isnan().tolist() == [False, True, False]
    assert after.nanmean() == before[[0, 2]].mean()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(math.nan)
    broken = evaluate(network, 32, pairs, World(), loss).losses
    assert broken.tolist()[::2] == [math.inf] * 2, "a network without numbers is not left out of the mean"


def test_one_pass_serves_all_networks(make_faces: Callable[..., Path], monkeypatch: pytest.MonkeyPatch):
    pairs, read = find_pairs(make_faces(val=3), "val"), list[Pair]()
    networks = {name: build(NARROW) for name in ("raw", "ema")}
    loss = SegmentationLoss(LossConfig())
    alone = {name: evaluate(network, 32, pairs, World(), loss) for name, network in networks.items()}
    decode = reading.decode

    def counted(pair: Pair) -> tuple[Image.Image, Image.Image]:
        read.append(pair)
        return decode(pair)

    monkeypatch.setattr(reading, "decode", counted)
    together = evaluate_all(networks, 32, pairs, World(), loss)
    assert len(read) == 3
    for name, result in together.items():
        assert torch.equal(result.tally.confusion, alone[name].tally.confusion)
        assert torch.equal(result.losses, alone[name].losses)
    assert not torch.equal(together["raw"].losses, together["ema"].losses)


def test_pictures_taken_together_have_the_figures_of_pictures_one_by_one(make_faces: Callable[..., Path]):
    """What a GPU does, done on the CPU: rounding aside the same counts and losses."""
    pairs, network = find_pairs(make_faces(val=4), "val"), build(NARROW)
    loss = SegmentationLoss(LossConfig())
    expected = evaluate(network, 32, pairs, World(), loss)
    parser = evaluation.FaceParser.for_prediction(network, 32, torch.device("cpu"))
    found = evaluation.no_counts(pairs, torch.device("cpu"))
    dataset = FaceDataset(pairs, None)
    (group,) = by_size([dataset[index] for index in range(4)])
    with torch.inference_mode():
        evaluation.count_group(group, parser, found, loss, torch.device("cpu"))
    assert torch.allclose(found.losses, expected.losses, rtol=1e-5)
    assert torch.allclose(found.largest_logits, expected.largest_logits, rtol=1e-5)
    assert figures(found.tally)["miou"] == pytest.approx(figures(expected.tally)["miou"], rel=0.02)
    assert torch.equal(found.tally.regions[:, 1], expected.tally.regions[:, 1])


def test_room_is_asked_for_the_largest_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    monkeypatch.setattr(evaluation, "require_shared_memory", lambda size, *_: asked.append(size))
    for number, side in enumerate((8, 20, 10)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    pairs = [Pair(tmp_path / f"{number}.png", tmp_path / f"{number}.png") for number in range(4)]
    require_room(pairs, 2, World())
    assert asked == [4 * 20 * 20]


def test_a_picture_that_cannot_be_read_is_one_line(make_faces: Callable[..., Path]):
    root = make_faces()
    pairs = find_pairs(root, "val")
    pairs[1].image.write_bytes(b"garbage")
    with pytest.raises(InputError, match=r"1\.png: .*; repair or remove it"):
        evaluate(build(NARROW), 32, pairs, World())


@pytest.mark.parametrize(
    ("logit", "exploded"), [(100.0, 0), (-101.0, 1), (1e30, 1), (math.inf, 1), (math.nan, 1)]
)
def test_pictures_that_explode_are_counted_and_told(
    make_faces: Callable[..., Path], logit: float, exploded: int
):
    pairs = find_pairs(make_faces(val=3), "val")
    network, calls = build(NARROW), list[int]()

    def second_picture(_: torch.nn.Module, __: object, logits: torch.Tensor) -> None:
        calls.append(0)
        if len(calls) == 2:
            logits[0, 3, 5, 5] = logit

    network.register_forward_hook(second_picture)
    result = evaluate(network, 32, pairs, World())
    assert result.exploded == exploded
    assert result.largest_logits[1].item() == pytest.approx(abs(logit), nan_ok=True)
    record = {"exploded_pictures": result.exploded, **figures(result.tally)}
    told = "pictures whose logits explode, and whose labels may be nonsense: 1"
    assert (told in str(class_table(record, "").caption)) == bool(exploded)


def test_exported_files_know_the_same_limit():
    assert SANE_LOGIT == SANE
