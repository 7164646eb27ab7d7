"""The number of processes changes nothing in gradients and statistics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from equality_worker import DTYPES, UNEVEN, gradients, moved, statistics
from forked_ranks import run_ranks

from lisa.training.muon import is_matrix
from lisa.world import World


def by_two_processes(output: Path) -> dict[str, Any]:
    done = run_ranks("equality_worker", output)
    assert done.returncode == 0, done.stderr
    return torch.load(output, weights_only=True)


@pytest.mark.slow
def test_two_processes_with_four_pictures_have_the_gradients_of_one_with_eight(tmp_path: Path):
    """Also in parts, of shares that differ: the ranks exchange gradients once, after the last part."""
    found = by_two_processes(tmp_path / "two.pt")
    assert not [name for name in found["threads"] if "gloo" in name]  # one would abort the process at its end
    for by_two, alone in (
        (found["gradients"], gradients(World())),
        (found["accumulated"], gradients(World(), UNEVEN)),
    ):
        exchanged = int(by_two.pop("exchanged"))
        alone.pop("exchanged")
        assert exchanged == sum(gradient.numel() for gradient in alone.values())
        assert len(alone) > 100
        assert by_two.keys() == alone.keys()
        for name, gradient in alone.items():
            assert gradient.abs().max() > 0 or "bias" in name, name
            assert torch.allclose(by_two[name], gradient, rtol=1e-6, atol=1e-9), name


@pytest.mark.slow
def test_two_processes_take_muons_directions_from_one_of_them(tmp_path: Path):
    found = by_two_processes(tmp_path / "two.pt")["moved"]
    for dtype in DTYPES:
        alone, by_rank_1 = moved(World(), getattr(torch, dtype)), list[str]()
        for name, weight in alone.items():
            off = (found[dtype][name] - weight).abs()
            if is_matrix(weight) and off.max() > 0:  # by rank 1, whose directions are off by 1 all over
                by_rank_1.append(name)
                assert off.min() > 0.1 * off.max(), name
            elif not is_matrix(weight):
                assert off.max() == 0, name
        assert 4 < len(by_rank_1) < sum(map(is_matrix, alone.values()))


@pytest.mark.gpu(2)
def test_synchronised_batchnorm_has_the_statistics_of_the_whole_batch(tmp_path: Path):
    found = by_two_processes(tmp_path / "two.pt")["statistics"]
    expected = statistics(World(device=torch.device("cuda", 0)))
    for name, buffer in expected.items():
        assert torch.allclose(found[f"module.{name}"], buffer, rtol=1e-4, atol=1e-6), name
