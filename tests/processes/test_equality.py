"""The number of processes changes nothing in gradients and statistics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from equality_worker import DTYPES, UNEVEN, gradients, moved, statistics
from forked_ranks import run_ranks

from lisa.world import World


def by_two_processes(output: Path) -> dict[str, Any]:
    done = run_ranks("equality_worker", output)
    assert done.returncode == 0, done.stderr
    return torch.load(output, weights_only=True)


@pytest.mark.slow
def test_two_processes_with_four_pictures_have_the_gradients_of_one_with_eight(tmp_path: Path):
    """Also in parts, of shares that differ: the ranks exchange gradients once, after the last part.

    Muon's steps are the same to the bit.
    """
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
    for dtype in DTYPES:  # a matrix's direction comes from one rank
        alone = moved(World(), getattr(torch, dtype))
        assert all(torch.equal(found["moved"][dtype][name], weight) for name, weight in alone.items())


@pytest.mark.gpu(2)
def test_synchronised_batchnorm_has_the_statistics_of_the_whole_batch(tmp_path: Path):
    found = by_two_processes(tmp_path / "two.pt")["statistics"]
    expected = statistics(World(device=torch.device("cuda", 0)))
    for name, buffer in expected.items():
        assert torch.allclose(found[f"module.{name}"], buffer, rtol=1e-4, atol=1e-6), name
