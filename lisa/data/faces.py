"""Folders of faces to tensors: pairing, checking, decoding, and the order in which ranks see them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from lisa.errors import InputError, listing
from lisa.labels import IGNORE_INDEX, NUM_CLASSES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MASK_MODES = ("L", "P", "I", "I;16")

_REMEDY = "repair or remove them, then start again"


class Pair(NamedTuple):
    """A picture and its mask."""

    image: Path
    mask: Path


class Face(NamedTuple):
    """One decoded pair: ``image`` (3,H,W) uint8 RGB, ``mask`` (H,W) uint8 ids, 255 = ignore."""

    image: Tensor
    mask: Tensor
    number: int


def split_folders(root: Path, split: str) -> tuple[Path, Path]:
    """The split's picture and mask folders, in either layout. Raises InputError if there are none."""
    candidates = (
        (root / split / "images", root / split / "masks"),
        (root / f"{split}_image", root / f"{split}_mask"),
    )
    for images, masks in candidates:
        if images.is_dir() and masks.is_dir():
            return images, masks
    tried = " nor ".join(f"{images} with {masks}" for images, masks in candidates)
    raise InputError(f"{root}: no split {split!r} here (neither {tried})")


def find_pairs(root: str | Path, split: str) -> list[Pair]:
    """The split's pairs by stem, sorted. Raises InputError for an empty folder and for unpaired files."""
    images_folder, masks_folder = split_folders(Path(root), split)
    faults: list[str] = []
    images = _by_stem(images_folder, IMAGE_SUFFIXES, faults)
    masks = _by_stem(masks_folder, (".png",), faults)
    faults += [f"{images[stem]}: no mask {masks_folder / stem}.png" for stem in sorted(images - masks.keys())]
    faults += [f"{masks[stem]}: no picture of this stem" for stem in sorted(masks - images.keys())]
    if faults:
        raise InputError(f"unpaired files in split {split!r}; {_REMEDY}:\n{listing(faults)}")
    if not images:
        raise InputError(f"{images_folder}: no pictures ({', '.join(IMAGE_SUFFIXES)})")
    return [Pair(images[stem], masks[stem]) for stem in sorted(images)]


def _by_stem(folder: Path, suffixes: Sequence[str], faults: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            faults.append(f"{path}: second file of this stem, beside {found[path.stem].name}")
        found[path.stem] = path
    return found


def read_image(path: Path) -> Image.Image:
    """The picture as 8-bit RGB, EXIF rotation applied, whatever mode it was stored in."""
    with Image.open(path) as stored:
        image = ImageOps.exif_transpose(stored)
        if image.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip it
            image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
        return image.convert("RGB")


def read_mask(path: Path) -> Image.Image:
    """The mask as 8-bit ids. Raises ValueError for colour masks and for ids that are no class and not 255."""
    with Image.open(path) as stored:
        if stored.mode not in MASK_MODES:
            raise ValueError(f"mode {stored.mode}, must be single-channel or palette")
        ids = np.asarray(stored)
    wrong = np.unique(ids[(ids >= NUM_CLASSES) & (ids != IGNORE_INDEX)])
    if wrong.size or ids.min() < 0:
        shown = ", ".join(str(value) for value in wrong[:5])
        raise ValueError(f"ids {shown} are out of range (0 to {NUM_CLASSES - 1}, 255 = ignore)")
    return Image.fromarray(ids.astype(np.uint8))


def fault_of(pair: Pair) -> str | None:
    """What is wrong with a pair, after decoding all of it; None if nothing is."""
    path = pair.image
    try:
        image = read_image(path)
        path = pair.mask
        mask = read_mask(path)
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # Pillow's ways to say no
        return f"{path}: {str(error) or type(error).__name__}"
    if image.size != mask.size:
        return f"{pair.mask}: {mask.width}x{mask.height}, its picture is {image.width}x{image.height}"
    return None


def check_pairs(pairs: Sequence[Pair], gather: Callable[[Any], list[Any]], rank: int, size: int) -> None:
    """Decodes every pair once, each rank its share, and raises the same InputError on all ranks.

    ``gather`` collects an object from every rank (``World.gather``).
    """
    with ThreadPoolExecutor() as pool:
        own = [fault for fault in pool.map(fault_of, pairs[rank::size]) if fault]
    faults = sorted(fault for share in gather(own) for fault in share)
    if faults:
        raise InputError(f"{len(faults)} of {len(pairs)} pairs can't be used; {_REMEDY}:\n{listing(faults)}")


class FaceDataset(Dataset[Face]):
    """Decodes pairs, at ``size`` x ``size`` pixels or, with None, at their own size.

    Pictures are resized with an antialiased bilinear filter, masks by nearest neighbour.
    """

    def __init__(self, pairs: Sequence[Pair], size: int | None) -> None:
        self.pairs = pairs
        self.size = size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Face:
        image, mask = read_image(self.pairs[index].image), read_mask(self.pairs[index].mask)
        if self.size is not None and image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
            mask = mask.resize((self.size, self.size), Image.Resampling.NEAREST)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        return Face(pixels, torch.from_numpy(np.asarray(mask).copy()), index)


class EpochBatches(Sampler[list[int]]):
    """A rank's batches of an epoch: every picture exactly once over all ranks, in an order of (seed, epoch).

    Global batches differ by at most one picture, and so do the ranks' shares of a batch, so that no picture
    is dropped or repeated and no rank goes without. Raises InputError with fewer pictures than ranks.
    """

    def __init__(self, pictures: int, batch_size: int, seed: int, rank: int = 0, size: int = 1) -> None:
        if pictures < size:
            raise InputError(f"{pictures} training pictures can't be shared by {size} processes: use fewer")
        if batch_size < size:
            raise InputError(f"train.batch_size = {batch_size}: at least one picture per process ({size})")
        self.pictures = pictures
        self.steps = min(-(-pictures // batch_size), pictures // size)
        self.seed = seed
        self.rank = rank
        self.size = size
        self.epoch = 0
        self.start = 0

    def set_position(self, epoch: int, start: int = 0) -> None:
        """The next iteration yields this epoch's batches from number ``start`` on."""
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.pictures)
        for batch in np.array_split(order, self.steps)[self.start :]:
            yield np.array_split(batch, self.size)[self.rank].tolist()


def collate_same_size(faces: list[Face]) -> tuple[Tensor, Tensor]:
    """Pictures (B,3,H,W) uint8 and masks (B,H,W) uint8."""
    return torch.stack([face.image for face in faces]), torch.stack([face.mask for face in faces])


def only_one(faces: list[Face]) -> Face:
    """For loaders of one picture at a time: sizes may differ from picture to picture."""
    assert len(faces) == 1
    return faces[0]


def ignore_signals(worker: int) -> None:
    """Worker processes outlive Ctrl-C and SIGTERM: the training process finishes its step and ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
