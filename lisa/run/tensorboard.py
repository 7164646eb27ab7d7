"""TensorBoard's event files, cut back to their checkpoint when a run is resumed."""

import os
from pathlib import Path

import numpy as np

FILES = "events.out.tfevents.*"


class Events:
    """Scalars and pictures of a run.

    ``lengths`` are the files' bytes at the checkpoint that the run goes on from: what a killed run wrote
    after it would show every curve twice there. None, from a checkpoint that did not know them, keeps all.
    """

    def __init__(self, folder: Path, lengths: dict[str, int] | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second that other ranks need not wait

        self._folder = folder
        if lengths is not None:
            _cut_back(folder, lengths)
        self._writer = SummaryWriter(str(folder))

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Adds values by their tag. Raises OSError if the disk is full."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Adds a picture, (H,W,3) uint8. Raises OSError if the disk is full."""
        self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def flush(self) -> dict[str, int]:
        """Writes what is buffered; returns the files' lengths."""
        self._writer.flush()
        return {path.name: path.stat().st_size for path in self._folder.glob(FILES)}

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


def _cut_back(folder: Path, lengths: dict[str, int]) -> None:
    """Files keep these bytes; those without a length are younger than the checkpoint and go."""
    for path in folder.glob(FILES):
        if path.name in lengths:
            os.truncate(path, min(lengths[path.name], path.stat().st_size))
        else:
            path.unlink()
