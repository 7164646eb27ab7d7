"""Metrics against scikit-learn, the referee."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, jaccard_score

from lisa.evaluation.metrics import Tally, figures, picture_mious
from lisa.labels import IDS, NAMES
from lisa.labels.celebamask import CELEBAMASK


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
    tally = Tally(len(pairs), CELEBAMASK)
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
    without = [index for index in np.union1d(truth, predicted) if index != 0]
    foreground = f1_score(truth, predicted, labels=without, average="macro")
    assert ours["mean_f1_without_background"] == pytest.approx(foreground, abs=1e-12)
    per_class = jaccard_score(truth, predicted, labels=range(19), average=None, zero_division=0)  # pyright: ignore
    for name, expected in zip(NAMES, np.asarray(per_class), strict=True):
        value = ours["iou"][name]
        occurs = NAMES.index(name) in truth or NAMES.index(name) in predicted
        assert value == (pytest.approx(expected) if occurs else None)


def test_a_picture_of_ignored_pixels_alone_changes_nothing():
    pairs = predictions()
    ignored = torch.full_like(pairs[0][1], 255)
    more = figures(tallied([*pairs, (pairs[0][0], ignored)]))
    for name, value in figures(tallied(pairs)).items():
        if isinstance(value, float):
            assert more[name] == pytest.approx(value, abs=1e-12), name


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


def test_a_pictures_own_miou_is_scikit_learns():
    pairs = predictions()
    expected = [
        jaccard_score(truth[truth != 255], prediction[truth != 255], average="macro")
        for prediction, truth in pairs
    ]
    assert picture_mious(tallied(pairs)).tolist() == pytest.approx(expected, abs=1e-12)


def face() -> torch.Tensor:
    """Skin with two eyes, hair above."""
    truth = torch.full((100, 100), IDS["skin"], dtype=torch.uint8)
    truth[:30] = IDS["hair"]
    truth[40:50, 20:40], truth[40:50, 60:80] = IDS["r_eye"], IDS["l_eye"]
    return truth


def test_left_taken_for_right_is_counted():
    truth = face()
    prediction = truth.clone()
    prediction[40:50, 20:35] = IDS["l_eye"]  # 3/4 of r_eye
    prediction[40:50, 60:65] = IDS["skin"]
    ours = figures(tallied([(prediction, truth)]))
    assert ours["mirrored"]["r_eye"] == 0.75
    assert ours["mirrored"]["l_eye"] == 0
    assert ours["mirrored"]["l_ear"] is None
    assert ours["left_right_confusion"] == 150 / 400
    assert figures(tallied([(face(), face())]))["left_right_confusion"] == 0
    nothing = torch.zeros(4, 4, dtype=torch.uint8)
    assert figures(tallied([(nothing, nothing)]))["left_right_confusion"] is None


def test_boundary_iou_by_hand():
    """100x100: bands of 3 pixels. The prediction's hair ends 2 rows lower."""
    truth = face()
    prediction = truth.clone()
    prediction[30:32] = IDS["hair"]
    ours = figures(tallied([(prediction, truth)]))
    frame = 3 * 100 + 2 * 3 * 27  # above 3 rows, at the sides 3 columns, of the 30 rows of truth
    # Truth: rows 27 to 29 close the band; prediction: rows 29 to 31. The common part of the middle is row 29.
    truth_band, predicted_band = frame + 3 * 94, frame + 2 * 3 * 2 + 3 * 94
    both = frame + 94
    assert ours["boundary_iou"]["hair"] == pytest.approx(both / (truth_band + predicted_band - both))
    assert ours["boundary_iou"]["hair"] < ours["iou"]["hair"]
    assert ours["boundary_iou"]["l_eye"] == 1
    assert ours["boundary_iou"]["nose"] is None


def test_ignored_pixels_spoil_no_boundary():
    truth, prediction = face(), face()
    truth[45:70, 30:70] = 255
    prediction[55:60, 35:50] = IDS["nose"]
    ours = figures(tallied([(prediction, truth)]))
    assert ours["boundary_miou"] == ours["miou"] == 1


def test_shards_sum_to_the_whole_bit_for_bit():
    pairs = predictions()
    whole = figures(tallied(pairs))
    shards = [Tally(len(pairs), CELEBAMASK) for _ in range(3)]
    for number, (prediction, truth) in enumerate(pairs):
        shards[number % 3].add(number, prediction, truth)
    total = Tally(len(pairs), CELEBAMASK)
    for shard in shards:
        total.confusion += shard.confusion
        total.per_picture += shard.per_picture
    assert figures(total) == whole
