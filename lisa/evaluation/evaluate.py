"""Evaluation of a network on a split, each rank its own pictures, at the masks' own resolution."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from lisa.data.faces import Face, FaceDataset, ignore_signals, only_one
from lisa.data.pairs import Pair
from lisa.errors import StopAskedError
from lisa.evaluation.metrics import Tally
from lisa.face_parser import FaceParser, argmax_at
from lisa.losses import SegmentationLoss
from lisa.world import World


class Evaluation(NamedTuple):
    """Counts over all ranks, and each picture's loss at the network's resolution, (pictures,) float64."""

    tally: Tally
    losses: Tensor


def evaluate(
    network: nn.Module,
    size: int,
    pairs: Sequence[Pair],
    world: World,
    loss: SegmentationLoss | None = None,
    workers: int = 0,
) -> Evaluation:
    """The same result on every rank; ``losses`` are zeros where no loss is given.

    Pictures pass the network one by one, in float32 whatever training uses, so that neither the number of
    ranks nor a batch's composition can change a bit; each prediction is compared at its mask's own
    resolution, as the predictor writes it.

    Raises:
        StopAskedError: a rank was asked to stop, which it did not wait for the last picture to heed.
        InputError: a rank met a picture that it can't read.
    """
    parser = FaceParser.for_prediction(network, size, world.device)
    tally = Tally(len(pairs), world.device)
    losses = torch.zeros(len(pairs), dtype=torch.float64, device=world.device)
    own = range(world.rank, len(pairs), world.world_size)
    loader = DataLoader(
        Subset(FaceDataset(pairs, size=None), own),
        collate_fn=only_one,
        num_workers=workers if len(own) else 0,
        worker_init_fn=ignore_signals,
    )

    def count_own() -> None:
        for face in loader:
            if world.stop_asked:
                return
            losses[face.number] = _count(face, parser, tally, loss, world.device)
            world.beat()

    with torch.inference_mode():
        world.fail_together(count_own)
    if world.any(world.stop_asked):
        raise StopAskedError
    # Each rank filled its own rows, the others are 0: these sums have no rounding, whatever the world's size.
    for tensor in (tally.confusion, tally.per_picture, losses):
        world.all_sum(tensor)
    return Evaluation(tally, losses)


def _count(
    face: Face,
    parser: FaceParser,
    tally: Tally,
    loss: SegmentationLoss | None,
    device: torch.device,
) -> Tensor | float:
    """Counts one picture and returns its loss."""
    image, mask = face.image[None].to(device), face.mask.to(device)
    logits = parser.logits(image)
    tally.add(face.number, argmax_at(logits, mask.shape[0], mask.shape[1])[0], mask)
    if loss is None:
        return 0.0
    target = F.interpolate(mask[None, None], logits.shape[-2:], mode="nearest-exact")[:, 0]
    return loss(logits, target)
