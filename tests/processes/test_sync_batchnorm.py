"""BatchNorm over two processes is BatchNorm of their pictures together."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from process_helpers import LONG, ROOT, environment
from sync_batchnorm_worker import SHARES, batch, passes


@pytest.mark.slow
def test_two_ranks_normalise_as_one_does_with_all_pictures(tmp_path: Path):
    """Shares differ; output, gradients and running statistics, eager and as one compiled graph."""
    files = [tmp_path / f"{rank}.pt" for rank in range(2)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "sync_batchnorm_worker", str(rank), str(tmp_path / "store"), str(file)],
            env=environment(),
            cwd=ROOT,
        )
        for rank, file in enumerate(files)
    ]
    assert [each.wait(LONG) for each in ranks] == [0, 0]
    told = [torch.load(file, weights_only=True) for file in files]
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
