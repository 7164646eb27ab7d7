"""Evaluation of networks on a split, each rank its own pictures, at the masks' own resolution."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lisa.data.exif import UNREADABLE, open_picture
from lisa.data.faces import DecodedFace, FaceDataset, nearest
from lisa.data.loader import Loader
from lisa.data.pairs import Pair
from lisa.data.shared_memory import require_shared_memory
from lisa.evaluation.float32 import ieee_float32
from lisa.evaluation.metrics import Tally
from lisa.evaluation.rounds import in_rounds
from lisa.face_parser import FaceParser, argmax_at
from lisa.labels import IGNORE_INDEX
from lisa.losses import SegmentationLoss
from lisa.world import World

AT_ONCE = 8
"""Pictures that a GPU takes together where they are of one size."""

PIXELS_AT_ONCE = 2**24
"""Pixels that these may have together, at the pictures' own size."""

SAMPLED = 32
"""Pictures that are asked for their size, to know how much memory the loader needs."""

SANE_LOGIT = 100.0
"""Logits of ordinary photographs stay near 40. A network that multiplies features without bound has far
larger ones where a texture sets it off, and its labels are then nonsense."""


class Evaluation(NamedTuple):
    """Counts over all ranks, and of each picture the loss and the largest |logit|, (pictures,) float64 each.

    Both are of the network's resolution. The loss is nan where no pixel counts, and infinite where the
    network gives no number.
    """

    tally: Tally
    losses: Tensor
    largest_logits: Tensor

    @property
    def exploded(self) -> int:
        """Pictures whose labels may be nonsense."""
        return int((~(self.largest_logits <= SANE_LOGIT)).sum())  # nan too


class OneSize(NamedTuple):
    """Pictures (B,3,H,W) uint8 and masks (B,H,W) uint8, and the pictures' numbers in the split."""

    images: Tensor
    masks: Tensor
    numbers: list[int]


def evaluate(
    network: nn.Module,
    size: int,
    pairs: Sequence[Pair],
    world: World,
    loss: SegmentationLoss | None = None,
    workers: int = 0,
) -> Evaluation:
    """:func:`evaluate_all` for one network."""
    return evaluate_all({"": network}, size, pairs, world, loss, workers)[""]


def evaluate_all(
    networks: Mapping[str, nn.Module],
    size: int,
    pairs: Sequence[Pair],
    world: World,
    loss: SegmentationLoss | None = None,
    workers: int = 0,
) -> dict[str, Evaluation]:
    """The same result on every rank, for each network by its name; ``losses`` are zeros without a loss.

    Pictures are decoded once for all networks. Each prediction is compared at its mask's own resolution, as
    the predictor writes it. All is in IEEE float32, whatever training uses. On the CPU pictures pass the
    network one by one, so that neither the number of ranks nor a batch's composition can change a bit; a GPU
    takes those of one size together, and may round otherwise.

    All ranks go picture by picture, so that none waits for another one's whole share: a slow machine may take
    as long as it needs.

    Raises:
        StopAskedError: a rank was asked to stop, which all heed two pictures later.
        InputError: a rank met a picture that it can't read.
    """
    parsers = {
        name: FaceParser.for_prediction(network, size, world.device) for name, network in networks.items()
    }
    results = {name: no_counts(pairs, world.device) for name in networks}
    own = range(world.rank, len(pairs), world.world_size)
    at_once = AT_ONCE if world.device.type == "cuda" else 1
    chunks = [list(own[start : start + at_once]) for start in range(0, len(own), at_once)]
    loader = Loader(FaceDataset(pairs, size=None), chunks, by_size, workers if chunks else 0, world)

    def count_next() -> None:
        for group in loader.fetch() or ():
            for name, parser in parsers.items():
                count_group(group, parser, results[name], loss, world.device)

    try:
        with torch.inference_mode(), ieee_float32(world.device):
            in_rounds(count_next, -(-len(pairs) // (world.world_size * at_once)), world)
    finally:
        loader.close()
    # Each rank filled its own rows, the others are 0: these sums have no rounding, whatever the world's size.
    for tally, losses, largest in results.values():
        for tensor in (tally.confusion, tally.per_picture, losses, largest):
            world.all_sum(tensor)
    return results


def by_size(faces: list[DecodedFace]) -> list[OneSize]:
    """The faces in groups of one size, in their order; a large picture is alone."""
    return [
        OneSize(
            torch.stack([face.image for face in group]),
            torch.stack([face.mask for face in group]),
            [face.number for face in group],
        )
        for group in _groups(faces)
    ]


def require_room(pairs: Sequence[Pair], workers: int, world: World) -> None:
    """Raises InputError where /dev/shm has no room for the pictures of an evaluation's workers."""
    require_shared_memory(bytes_at_once(pairs, world), workers, world.local_world_size)


def bytes_at_once(pairs: Sequence[Pair], world: World) -> int:
    """Bytes of what an evaluation's worker decodes at once, of the largest of some of the pictures."""
    largest = 0
    for pair in pairs[:: max(1, len(pairs) // SAMPLED)]:
        try:
            with open_picture(pair.image) as image:
                largest = max(largest, image.width * image.height)
        except UNREADABLE:
            continue  # whoever reads it says why
    return 4 * largest * (AT_ONCE if world.device.type == "cuda" else 1)


def _groups(faces: list[DecodedFace]) -> Iterator[list[DecodedFace]]:
    by_shape: dict[tuple[int, ...], list[DecodedFace]] = {}
    for face in faces:
        by_shape.setdefault((*face.image.shape, *face.mask.shape), []).append(face)
    for group in by_shape.values():
        first = group[0]  # a mask may be smaller than its picture by a whole factor
        length = max(1, PIXELS_AT_ONCE // max(first.mask.numel(), first.image[0].numel()))
        yield from (group[start : start + length] for start in range(0, len(group), length))


def no_counts(pairs: Sequence[Pair], device: torch.device) -> Evaluation:
    """Of an evaluation that has not begun."""
    tally = Tally(len(pairs), pairs[0].encoding.labels, device)
    losses, largest = torch.zeros(2, len(pairs), dtype=torch.float64, device=device)
    return Evaluation(tally, losses, largest)


def count_group(
    group: OneSize,
    parser: FaceParser,
    result: Evaluation,
    loss: SegmentationLoss | None,
    device: torch.device,
) -> None:
    """Counts pictures of one size, and their losses."""
    images, masks = (each.to(device, non_blocking=True) for each in (group.images, group.masks))
    logits = parser.logits(images)
    predictions = argmax_at(logits, masks.shape[1], masks.shape[2])
    largest = torch.maximum(logits.amax((1, 2, 3)), -logits.amin((1, 2, 3)))
    for index, number in enumerate(group.numbers):
        result.tally.add(number, predictions[index], masks[index])
        result.largest_logits[number] = largest[index]
        if loss is not None:
            one = slice(index, index + 1)
            target = nearest(masks[index], logits.shape[2], logits.shape[3], number)
            counts = (target != IGNORE_INDEX).any()
            value = loss(logits[one], target[None])
            # No number is the network's fault: the picture must not be left out.
            value = torch.where(value.isnan(), math.inf, value)
            result.losses[number] = torch.where(counts, value, math.nan)
