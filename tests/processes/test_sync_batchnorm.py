"""BatchNorm over two processes is BatchNorm of their pictures together."""

from pathlib import Path

import pytest
import torch
from forked_ranks import run_ranks
from sync_batchnorm_worker import SHARES, batch, passes


@pytest.mark.slow
def test_two_ranks_normalise_as_one_does_with_all_pictures(tmp_path: Path):
    """Shares differ; output, gradients and running statistics, eager and as one compiled graph."""
    done = run_ranks("sync_batchnorm_worker", tmp_path)
    assert done.returncode == 0, done.stderr
    told = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    network, images, upstream = batch()
    expected = passes(network, False, images, upstream)
    for way in range(2):  # eager, compiled
        of_ranks = [each[way] for each in told]
        for name, right in expected.items():
            for rank, share in enumerate(right.split(SHARES) if len(right.shape) == 4 else ()):
                assert torch.allclose(of_ranks[rank][name], share), name
            if name in ("0.weight", "0.bias"):  # DDP adds them up
                assert torch.allclose(of_ranks[0][name] + of_ranks[1][name], right), name
            if len(right.shape) < 4 and name not in ("0.weight", "0.bias"):
                assert all(torch.allclose(each[name], right) for each in of_ranks), name
