"""The number of processes changes nothing: gradients, statistics, who sees which picture."""

import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from equality_worker import BATCH, UNEVEN, gradients, statistics
from process_helpers import ROOT, environment

from lisa.data.faces import EpochBatches
from lisa.world import World


def by_two_processes(output: Path) -> dict[str, Any]:
    command = ["torchrun", "--standalone", "--nproc-per-node=2", "-m", "equality_worker", str(output)]
    subprocess.run(command, env=environment(), check=True, capture_output=True, timeout=600, cwd=ROOT)
    return torch.load(output, weights_only=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_with_four_pictures_have_the_gradients_of_one_with_eight(tmp_path: Path):
    """Also in parts, of shares that differ: the ranks exchange gradients once, after the last part."""
    found = by_two_processes(tmp_path / "two.pt")
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


@pytest.mark.gpu(2)
def test_synchronised_batchnorm_has_the_statistics_of_the_whole_batch(tmp_path: Path):
    found = by_two_processes(tmp_path / "two.pt")["statistics"]
    expected = statistics(World(device=torch.device("cuda", 0)))
    for name, buffer in expected.items():
        assert torch.allclose(found[f"module.{name}"], buffer, rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(("pictures", "views"), [(23, 1), (8, 3)])
def test_each_picture_once_per_view_and_epoch(size: int, pictures: int, views: int):
    """Whatever the number of ranks, a global batch holds the same pictures; resuming yields the rest."""
    alone = EpochBatches(pictures, BATCH, seed=3, views=views)
    ranks = [EpochBatches(pictures, BATCH, 3, rank, size, views) for rank in range(size)]
    orders: list[list[int]] = []
    for epoch in (0, 1):
        for batches in (alone, *ranks):
            batches.set_position(epoch)
        together = [list(chain(*shares)) for shares in zip(*ranks, strict=True)]
        assert together == list(alone)
        seen = np.bincount(np.concatenate(together), minlength=pictures)
        assert (seen == views).all()
        orders.append([picture for batch in together for picture in batch])
        for batches in ranks:
            whole = list(batches)
            batches.set_position(epoch, 2)
            assert list(batches) == whole[2:]
    assert orders[0] != orders[1]
    other = EpochBatches(pictures, BATCH, seed=4, views=views)
    assert orders[0] != list(chain(*other))
