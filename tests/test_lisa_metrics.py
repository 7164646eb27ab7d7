"""Metrics against scikit-learn, the referee."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from lisa.labels import NAMES
from lisa.metrics import Tally, figures


def predictions() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pictures of different sizes; classes above 14 occur nowhere, class 3 only in predictions."""
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    for number in range(5):
        truth = torch.randint(0, 15, (8 + number, 9))
        truth[truth == 3] = 4
        prediction = torch.where(torch.rand(truth.shape) < 0.6, truth, torch.randint(0, 15, truth.shape))
        truth[0, :3] = 255
        pairs.append((prediction.to(torch.uint8), truth.to(torch.uint8)))
    return pairs


def tallied(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> Tally:
    tally = Tally(len(pairs))
    for number, (prediction, truth) in enumerate(pairs):
        tally.add(number, prediction, truth)
    return tally


def test_set_figures_equal_scikit_learns():
    pairs = predictions()
    ours = figures(tallied(pairs))
    truth = np.concatenate([truth[truth != 255] for _, truth in pairs])
    predicted = np.concatenate([prediction[truth != 255] for prediction, truth in pairs])
    assert ours["miou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"), abs=1e-12)
    assert ours["mean_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"), abs=1e-12)
    per_class = jaccard_score(truth, predicted, labels=range(19), average=None, zero_division=0)  # pyright: ignore
    for name, expected in zip(NAMES, np.asarray(per_class), strict=True):
        value = ours["iou"][name]
        occurs = NAMES.index(name) in truth or NAMES.index(name) in predicted
        assert value == (pytest.approx(expected) if occurs else None)


def test_report_f1_equals_scikit_learns_per_picture():
    pairs = predictions()
    expected = np.mean(
        [
            f1_score(
                truth[truth != 255],
                prediction[truth != 255],
                labels=range(19),
                average="macro",
                zero_division=1,  # pyright: ignore[reportArgumentType]
            )
            for prediction, truth in pairs
        ]
    )
    assert figures(tallied(pairs))["report_f1"] == pytest.approx(expected, abs=1e-12)


def test_shards_sum_to_the_whole_bit_for_bit():
    pairs = predictions()
    whole = figures(tallied(pairs))
    shards = [Tally(len(pairs)) for _ in range(3)]
    for number, (prediction, truth) in enumerate(pairs):
        shards[number % 3].add(number, prediction, truth)
    total = Tally(len(pairs))
    for shard in shards:
        total.confusion += shard.confusion
        total.per_picture += shard.per_picture
    assert figures(total) == whole
