"""Augmentation, pasting and loss never make the host wait for the device."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from sync_helpers import HostSyncs, host_syncs
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lisa.augment.augmentation import Augmentation
from lisa.augment.pasting import Pasting
from lisa.config import RECIPES, AugmentConfig, Config, LossConfig
from lisa.labels.celebamask import CELEBAMASK
from lisa.losses import SegmentationLoss
from lisa.models.kernels.fast_path import plain_kernels

EVERYTHING = Config(
    augment=AugmentConfig(
        rotation=15, scale=0.2, shift=0.1, texture=1, blur=2, noise=0.1, jpeg=50, paste=1
    ),
    loss=LossConfig(lovasz=1),
)  # fmt: skip

CONFIGS = {**{name: recipe() for name, recipe in RECIPES.items()}, "everything": EVERYTHING}


def make_batch(device: str = "cpu") -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    return images.to(device), torch.randint(0, 19, (4, 32, 32), dtype=torch.uint8).to(device)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("fast", [True, False])
def test_a_batch_is_changed_and_judged_without_waiting(name: str, fast: bool):
    """Kornia reads its own draws, which stay on the host; nothing reads what was computed from pictures."""
    config, (images, masks) = CONFIGS[name], make_batch()
    augment = Augmentation(config.augment, CELEBAMASK)
    loss = SegmentationLoss(config.loss)
    scores = torch.randn(3, 19, requires_grad=True)

    def work() -> None:
        changed, moved = augment(images, masks)
        logits = torch.einsum("bchw,cd->bdhw", changed / 255, scores)
        loss(logits, moved).backward()

    with nullcontext() if fast else plain_kernels():
        device = [images, masks, scores, *augment.buffers()]
        assert host_syncs(work, device) == []


def test_pasting_reads_nothing_at_all():
    images, masks = make_batch()
    paste = Pasting(1.0, CELEBAMASK)
    assert host_syncs(lambda: paste(images, masks)) == []


@pytest.mark.parametrize("name", CONFIGS)
def test_draws_stay_on_the_host_when_pictures_lie_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch):
    """On the device "meta" there are no values: whoever reads one raises.

    Draws go there through lisa.augment.upload, or through Kornia's own copy that does not wait on CUDA.
    """
    monkeypatch.setattr("torch.autocast", lambda *_, **__: nullcontext())  # there is none for this device
    config = CONFIGS[name].augment
    augment = Augmentation(config, CELEBAMASK).to("meta")
    with HostSyncs() as syncs:
        images, masks = augment(*make_batch("meta"))
    assert images.device.type == masks.device.type == "meta"
    copies = [each for each in syncs.found if each.startswith("_to_copy")]
    known = ("upload.py", "core/utils.py", "test_no_waiting.py")
    assert [each for each in copies if not any(place in each.split(" < ")[0] for place in known)] == []


class Uploads(TorchDispatchMode):
    """Counts the numbers of each copy from the host to "meta"."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
            self.sizes.append(args[0].numel())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", CONFIGS)
def test_no_draw_is_as_large_as_the_batch(name: str, monkeypatch: pytest.MonkeyPatch):
    """Of 40 pictures at 512x512 the host draws noise for 0.2 s: longer than a GPU's step."""
    monkeypatch.setattr("torch.autocast", lambda *_, **__: nullcontext())  # there is none for this device
    augment = Augmentation(CONFIGS[name].augment, CELEBAMASK).to("meta")
    images = torch.zeros(4, 3, 64, 64, dtype=torch.uint8, device="meta")
    with Uploads() as uploads:
        augment(images, torch.zeros(4, 64, 64, dtype=torch.uint8, device="meta"))
    assert max(uploads.sizes) < images.numel()


def test_a_wait_is_found():
    """The counter itself: reads, boolean indices, shapes by value, and where."""
    values = torch.rand(5)

    def work() -> None:
        if values.sum() > 0:
            values[values > 0.5].unique()
            values.nonzero()

    found = host_syncs(work)
    operations = [each.split(" at ")[0] for each in found]
    assert operations == [
        "_local_scalar_dense",
        "index",
        "_unique2",
        "nonzero",
    ]
    assert all("test_no_waiting.py" in each for each in found)
    assert host_syncs(work, device=[torch.rand(1)]) == []
