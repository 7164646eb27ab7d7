"""What a process group's World does of itself, without a process group."""

import pytest
import torch
from torch import nn

from distributed import world
from distributed.world import ProcessGroupWorld
from lisa.world import SMALL_BATCH


@pytest.mark.parametrize(
    ("device", "pictures", "synchronised"),
    [("cuda", SMALL_BATCH - 1, True), ("cuda", SMALL_BATCH, False), ("cpu", SMALL_BATCH - 1, False)],
)
def test_few_pictures_at_once_are_normalised_together_on_gpus(
    device: str,
    pictures: int,
    synchronised: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """And on CPUs, which can't, the run says so."""
    network, together = nn.Identity(), nn.Identity()
    wrapped: list[tuple[nn.Module, list[torch.device] | None]] = []

    def parallel(module: nn.Module, devices: list[torch.device] | None, **options: bool) -> nn.Module:
        wrapped.append((module, devices))
        return nn.Sequential(module)

    monkeypatch.setattr(world, "DistributedDataParallel", parallel)
    monkeypatch.setattr(world, "synchronise_batchnorm", lambda module: together)
    ranks = ProcessGroupWorld(world_size=2, device=torch.device(device))
    assert isinstance(ranks.wrap(network, pictures), nn.Sequential)
    assert wrapped == [(together if synchronised else network, [ranks.device] if device == "cuda" else None)]
    assert ("its own 15 pictures" in capsys.readouterr().out) == (device == "cpu")
