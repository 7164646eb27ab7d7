"""The bootstrap interval against scikit-learn's mIoU of resampled pixels, and its properties."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from lisa.evaluation import bootstrap
from lisa.evaluation.bootstrap import miou_interval
from lisa.evaluation.metrics import Tally, figures
from lisa.labels.celebamask import CELEBAMASK


def noisy(pictures: int, right: float = 0.7) -> tuple[Tally, np.ndarray, np.ndarray]:
    """A tally with the pixels it counted: truth and prediction, (pictures,H,W)."""
    truth = torch.randint(0, 6, (pictures, 6, 6), dtype=torch.uint8)
    keep = torch.rand(truth.shape) < right * torch.rand(pictures, 1, 1)
    prediction = torch.where(keep, truth, torch.randint(0, 6, truth.shape, dtype=torch.uint8))
    tally = Tally(pictures, CELEBAMASK)
    for number in range(pictures):
        tally.add(number, prediction[number], truth[number])
    return tally, truth.numpy(), prediction.numpy()


def test_interval_is_scikit_learns_quantiles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 50)
    tally, truth, prediction = noisy(7)
    generator = np.random.default_rng(bootstrap.SEED)
    mious: list[float] = []
    for _ in range(50):
        drawn = generator.integers(7, size=7)
        mious.append(jaccard_score(truth[drawn].ravel(), prediction[drawn].ravel(), average="macro"))  # pyright: ignore
    assert miou_interval(tally) == pytest.approx(tuple(np.quantile(mious, [0.025, 0.975])), abs=1e-12)


def test_interval_repeats_holds_the_figure_and_narrows():
    few, many = noisy(10)[0], noisy(200)[0]
    for tally in (few, many):
        low, high = interval(tally)
        assert low < figures(tally)["miou"] < high
        assert miou_interval(tally) == (low, high)
    widths = [high - low for low, high in (interval(few), interval(many))]
    assert widths[1] < widths[0] / 2


def interval(tally: Tally) -> tuple[float, float]:
    found = miou_interval(tally)
    assert found is not None
    return found


def test_of_few_pictures_nothing_is_known():
    """One, drawn again and again, would look certain."""
    assert [miou_interval(noisy(count)[0]) is None for count in (1, 4, 5)] == [True, True, False]


def test_pictures_of_which_nothing_counts_change_nothing():
    tally, truth, prediction = noisy(5)
    wider = Tally(8, CELEBAMASK)
    for number in range(5):
        wider.add(number, torch.from_numpy(prediction[number]), torch.from_numpy(truth[number]))
    for number in range(5, 8):
        wider.add(number, torch.zeros(6, 6, dtype=torch.uint8), torch.full((6, 6), 255, dtype=torch.uint8))
    assert miou_interval(wider) == miou_interval(tally)
    assert miou_interval(Tally(7, CELEBAMASK)) is None
