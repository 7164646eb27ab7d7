"""One process's training: prints pictures per second of forward pass, loss and backward pass.

python -m benchmarks.cost.step --network lisa --size 512
"""

import time

import torch
import tyro

from lisa.config import ModelConfig, best
from lisa.data.synthetic import draw_face
from lisa.face_parser import FaceParser
from lisa.losses import SegmentationLoss
from lisa.models import build
from lisa.system.process import flush_denormals
from lisa.training.precision import multiplies_bf16


def rate(network: str, size: int, batch_size: int, steps: int) -> float:
    """Pictures per second of drawn faces under the losses of ``best``, after one step to warm up."""
    faces = [draw_face(seed, size) for seed in range(batch_size)]
    pictures = torch.stack([torch.from_numpy(picture.copy()) for picture, _ in faces]).permute(0, 3, 1, 2)
    masks = torch.stack([torch.from_numpy(mask.copy()) for _, mask in faces])
    parser = FaceParser(build(ModelConfig(name=network)), size).train()
    parser.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    loss = SegmentationLoss(best().loss)
    start = 0.0
    for step in range(1 + steps):
        if step == 1:
            start = time.perf_counter()
        parser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bf16(torch.device("cpu"))):
            logits = parser.network(parser.normalise(pictures))
        loss(logits, masks).backward()
    return batch_size * steps / (time.perf_counter() - start)


def main(network: str, size: int, batch_size: int = 2, steps: int = 3) -> None:
    """Prints the rate."""
    flush_denormals()
    print(f"{rate(network, size, batch_size, steps):.4f} pictures/s")


if __name__ == "__main__":
    tyro.cli(main)
