"""What a picture costs is counted, and measured on every engine."""

from pathlib import Path

import pytest
from torch import nn

from benchmarks.cost.__main__ import ENGINES, PLAIN, Settings, floor_ms, measure, prepare
from benchmarks.cost.counts import Counts, count


def test_operations_and_values_of_a_picture():
    """A 3x3 convolution of 3 to 4 channels and its ReLU; a view writes nothing."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
    assert count(network, 8) == Counts(2 * 3 * 4 * 9 * 64, 2 * 4 * 64)


def test_the_floor_is_what_takes_longer():
    assert floor_ms(Counts(2e9, 1_000_000), bandwidth=1e9, rate=1e12) == pytest.approx(4)
    assert floor_ms(Counts(2e9, 1_000_000), bandwidth=1e12, rate=1e11) == pytest.approx(20)


@pytest.mark.slow
def test_every_kind_of_engine_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("torch bf16", "OpenVINO fp32"):
        monkeypatch.delitem(ENGINES, name)
    settings = Settings(tmp_path, networks=("lisa_fold4",), size=64, pictures=2, rounds=1)
    prepare(settings)
    table = measure(settings)
    rows = dict(zip(table.columns[0].cells, table.columns[1].cells, strict=True))
    assert rows["parameters"] == "1,981,392"
    assert rows["GFLOP"] == "0.06"
    for name in ("training", PLAIN, *ENGINES):
        assert float(str(rows[f"{name}, pictures/s"])) > 0
