"""The yardstick: the report's predictor, written the plain way.

Eager fp32, one picture at a time, Pillow and torchvision transforms, argmax, palette PNG with optimize=True.
With --compiled the network goes through torch.compile and computes in bf16.

    python -m benchmarks.prediction.plain --checkpoint runs/x/best.pt --input FOLDER --output FOLDER
"""

import time
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from torchvision import transforms

from lisa.face_parser import MEAN, STD
from lisa.labels import PALETTE
from lisa.run.checkpoint import load_network


def predict(
    checkpoint: Path,
    input: Path,
    output: Path,
    device: torch.device | str = "cpu",
    compiled: bool = False,
) -> float:
    """Parses the folder; returns pictures per second, without the time to load or compile the network."""
    trained = load_network(checkpoint)
    network = trained.network.to(device)
    size = trained.config.data.size
    transform = transforms.Compose(
        [transforms.Resize((size, size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    output.mkdir(parents=True, exist_ok=True)
    pictures = sorted(input.iterdir())
    bf16 = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=compiled)
    if compiled:
        network = torch.compile(network)
        with torch.no_grad(), bf16:
            network(torch.zeros(1, 3, size, size, device=device))
    start = time.perf_counter()
    with torch.no_grad(), bf16:
        for path in pictures:
            image = Image.open(path).convert("RGB")
            batch = torch.stack([transform(image)])  # pyright: ignore[reportArgumentType]
            logits = network(batch.to(device))
            labels = logits.argmax(dim=1)[0].cpu().numpy().astype(np.uint8)
            ids = Image.fromarray(labels)
            ids.putpalette(PALETTE)
            ids.save(output / f"{path.stem}.png", optimize=True)
    return len(pictures) / (time.perf_counter() - start)


def main(checkpoint: Path, input: Path, output: Path, compiled: bool = False) -> None:
    """Prints the pictures per second of the plain predictor."""
    print(f"{predict(checkpoint, input, output, compiled=compiled):.3f} pictures/s")


if __name__ == "__main__":
    tyro.cli(main)
