"""A sheet of training pictures: as they are, then augmented, as the network sees them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lisa.augment.augmentation import Augmentation
from lisa.config import AugmentConfig
from lisa.data.checking import check_pairs
from lisa.data.evenly import evenly
from lisa.data.faces import FaceDataset, collate_same_size
from lisa.data.pairs import Pair
from lisa.figures.png_files import save_png
from lisa.figures.sheet import overlay
from lisa.labels import LabelSet

SHEET_ROWS, SHEET_VIEWS = 6, 6


def draw_sheet(config: AugmentConfig, pairs: Sequence[Pair], output: Path, size: int) -> None:
    """Draws six of the pairs, one a row: as they are, then augmented, every second view with its labels.

    Raises InputError for masks that training would refuse.
    """
    chosen = evenly(pairs, SHEET_ROWS)
    check_pairs(chosen)
    dataset = FaceDataset(chosen, size)
    images, masks = collate_same_size([dataset[index] for index in range(len(chosen))])
    labels = chosen[0].encoding.labels
    augment = Augmentation(config, labels)
    columns = [images.float()]
    for view in range(SHEET_VIEWS):
        changed, moved = augment(images, masks)
        columns.append(changed if view % 2 == 0 else _overlays(changed, moved, labels))
    sheet = torch.cat([torch.cat(list(column), dim=1) for column in columns], dim=2)
    save_png(Image.fromarray(sheet.permute(1, 2, 0).round().to(torch.uint8).numpy()), output)


def _overlays(images: Tensor, masks: Tensor, labels: LabelSet) -> Tensor:
    blended = [
        overlay(image.permute(1, 2, 0).numpy(), mask.numpy(), labels)
        for image, mask in zip(images, masks, strict=True)
    ]
    return torch.from_numpy(np.stack(blended)).permute(0, 3, 1, 2).float()
