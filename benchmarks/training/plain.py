"""The yardstick: the report's training recipe, written the plain way.

Eager fp32 NCHW, Pillow decoding, a float mask per class made in the workers, augmentation on the CPU in the
workers, Adam, cross entropy and Dice against the one-hot masks, one process, on a GPU where there is one.

    python -m benchmarks.training.plain --data FOLDER --size 512 --batch-size 4 --steps 6
"""

import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from lisa.data.folders import find_pairs
from lisa.data.pairs import Pair, decode
from lisa.face_parser import MEAN, STD
from lisa.labels import NUM_CLASSES
from lisa.labels.celebamask import CELEBAMASK
from lisa.models import LISA
from lisa.models.kernels.fast_path import plain_kernels


class OneHotFaces(Dataset[tuple[Tensor, Tensor]]):
    """Augmented pictures (3,size,size) and a float mask per class (19,size,size), as the published loop."""

    def __init__(self, pairs: list[Pair], size: int) -> None:
        self.pairs = pairs
        self.size = (size, size)
        self.jitter = transforms.ColorJitter(0.2, 0.2, 0.2, 0.1)
        self.to_input = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        image, mask = decode(pair)
        image = image.resize(self.size, Image.Resampling.BILINEAR)
        mask = mask.resize(self.size, Image.Resampling.NEAREST)
        ids = np.asarray(mask)
        if random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            ids = CELEBAMASK.flip_table()[ids[:, ::-1]]
        angle = random.uniform(-10, 10)
        image = self.jitter(image.rotate(angle, Image.Resampling.BILINEAR))
        ids = np.asarray(Image.fromarray(ids).rotate(angle))
        masks = np.stack([ids == index for index in range(NUM_CLASSES)]).astype(np.float32)
        return self.to_input(image), torch.from_numpy(masks)  # pyright: ignore[reportReturnType]


def loss_of(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross entropy plus soft Dice over classes, both against (B,19,H,W) float masks."""
    probabilities = logits.softmax(dim=1)
    intersection = (probabilities * masks).sum((0, 2, 3))
    total = probabilities.sum((0, 2, 3)) + masks.sum((0, 2, 3))
    return F.cross_entropy(logits, masks) + (1 - 2 * intersection / (total + 1e-4)).mean()


def train(
    data: Path, size: int, batch_size: int, steps: int, workers: int, device: torch.device | None = None
) -> float:
    """Images per second of an epoch of ``steps`` training steps after one to warm up, data and all.

    ``device`` is the first GPU, or the CPU where there is none, if not given.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    faces = OneHotFaces(find_pairs(data, "train"), size)
    loader = DataLoader(faces, batch_size, shuffle=True, num_workers=workers, drop_last=True)
    network = LISA().train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    assert len(loader) >= steps, f"{len(faces)} pictures are less than {steps} batches of {batch_size}"
    start = 0.0
    with plain_kernels():
        for timed in (1, steps):  # one to warm up; then, as in training's own figure, from the first batch on
            for number, (images, masks) in enumerate(loader):
                if number == 0:
                    start = time.perf_counter()
                images, masks = images.to(device), masks.to(device)
                loss = loss_of(network(images), masks)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()  # the published loop prints it
                if number + 1 == timed:
                    break
    return batch_size * steps / (time.perf_counter() - start)


def main(data: Path, size: int = 512, batch_size: int = 4, steps: int = 6, workers: int = 2) -> None:
    """Prints the images per second of the plain training loop.

    Args:
        data: Folder of faces; its train split is used.
        size: Side of the pictures, in pixels.
        batch_size: Pictures a step.
        steps: Steps timed, after one to warm up.
        workers: Decoding processes.
    """
    print(f"{train(data, size, batch_size, steps, workers):.4f} images/s")


if __name__ == "__main__":
    tyro.cli(main)
