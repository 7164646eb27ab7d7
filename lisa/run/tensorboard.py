"""TensorBoard's event files."""

import time
from pathlib import Path

import numpy as np


class Events:
    """Scalars and pictures of a run.

    TensorBoard hides what stands at ``purge_step`` and later in the folder's older files: the steps that a
    killed run took after its last checkpoint, which are taken again. None hides nothing.
    """

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second that other ranks need not wait

        # TensorBoard reads the files in their names' order, which is that of time only by the second.
        while any(folder.glob(f"*.tfevents.{int(time.time())}.*")):
            time.sleep(0.05)
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Adds values by their tag. Raises OSError if the disk is full."""
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)

    def picture(self, tag: str, pixels: np.ndarray, step: int) -> None:
        """Adds a picture, (H,W,3) uint8. Raises OSError if the disk is full."""
        self._writer.add_image(tag, pixels, step, dataformats="HWC")

    def flush(self) -> None:
        """Writes what is buffered. Raises OSError if the disk is full."""
        self._writer.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()
