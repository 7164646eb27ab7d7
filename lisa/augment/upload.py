"""Numbers drawn on the host, brought to the device that needs them."""

import torch
from torch import Tensor


def upload(host: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; to a GPU from pinned memory, so that the host does not wait for its queue."""
    if device.type == "cuda":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)
