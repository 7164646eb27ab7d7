"""The file that the report's author published, with weights of ours in it."""

from pathlib import Path

import torch
from deploy_helpers import calibrated_network
from torch import Tensor

from lisa.config import Config, DataConfig
from lisa.models.published import their_key


def published_state(size: int = 64) -> dict[str, Tensor]:
    """A state dict under the author's names, of a calibrated random network."""
    network = calibrated_network(Config(data=DataConfig(size=size)))
    return {their_key(key): value for key, value in network.state_dict().items()}


def write_published(path: Path) -> Path:
    """That state dict as a file."""
    torch.save(published_state(), path)
    return path
