"""A run that takes a second."""

from pathlib import Path

from lisa.config import Config, DataConfig, OptimConfig, TrainConfig


def small_run(root: Path, output: Path, epochs: int = 2, patience: int = 20) -> Config:
    return Config(
        data=DataConfig(root=str(root), size=32, workers=0),
        optim=OptimConfig(ema_decay=0.9),
        train=TrainConfig(epochs=epochs, batch_size=2, patience=patience),
        output=str(output),
    )
