"""Synthetic faces: portraits with exact masks of any label set that has roles, for trials.

    python -m lisa.data.synthetic --output data/synthetic --count 1200 --seed 0

The same seed, count and size give the same files, whatever the number of processes.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lisa.data.parallel import parallel_map
from lisa.data.portraits.portrait import draw_portrait
from lisa.data.portraits.traits import Traits, plan_traits
from lisa.errors import InputError, one_line_errors
from lisa.labels import LabelSet, read_label_set
from lisa.labels.celebamask import CELEBAMASK
from lisa.labels.encoding import read_encoding
from lisa.system.claimed_folder import claim_folder
from lisa.system.files import make_folders, write_whole

MARKER = "synthetic.json"
VERSION = 12
"""Raise it when the drawing changes: a folder begun with another version is not mixed with this one."""
SPLITS = (("train", 0.8), ("val", 0.9), ("test", 1.0))
"""Splits and where each ends, as a share of the count."""
SMALLEST, LARGEST = 64, 4096
JPEG_QUALITY = 92


def draw_face(seed: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One synthetic portrait: RGB picture (size, size, 3) and mask of ids (size, size), both uint8.

    Each trait (glasses, hat, ...) comes at its rate in CelebAMask-HQ. The same seed gives the same face.
    """
    return draw_portrait(np.random.default_rng(seed), size)


@dataclass(frozen=True)
class Job:
    """One face to draw, and where it goes."""

    folder: Path
    name: str
    seed: tuple[int, int]
    size: int
    traits: Traits
    labels: LabelSet

    @property
    def picture(self) -> Path:
        """The JPEG file."""
        return self.folder / "images" / f"{self.name}.jpg"

    @property
    def mask(self) -> Path:
        """The palette PNG file."""
        return self.folder / "masks" / f"{self.name}.png"


def write_dataset(
    output: Path,
    count: int,
    seed: int,
    size: int = 256,
    workers: int | None = None,
    labels: LabelSet = CELEBAMASK,
    accessories: float = 1.0,
) -> None:
    """Write ``count`` faces of ``size`` pixels into output/{train,val,test}/{images,masks}, 80/10/10.

    Every split holds every trait at its rate, and at least once. A run that was stopped goes on where it
    stopped. The masks hold the ids of ``labels``; what is drawn and has no label there is ignored (255).
    Glasses, hats and jewellery come ``accessories`` times as often, each on half of the faces at most.

    Raises:
        InputError: bad count or size, no room, a folder begun with other settings, or a label set whose
            labels name no role of a face.
    """
    if count < 10:
        raise InputError(f"--count {count} is too few for three splits; give 10 or more")
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"--size {size} can't be drawn; give {SMALLEST} to {LARGEST} pixels")
    if seed < 0:
        raise InputError(f"--seed {seed} is negative; give 0 or more")
    if not 0 <= accessories <= 10:
        raise InputError(f"--accessories {accessories}: 0 to 10 times their rate")
    if len(set(labels.by_role) - {"background"}) == 0:
        raise InputError(f"label set {labels.name} names no roles of a face: there is nothing to draw")
    recipe: dict[str, Any] = {"count": count, "seed": seed, "size": size, "version": VERSION}
    if labels != CELEBAMASK:
        recipe["labels"] = labels.to_dict()
    if accessories != 1:
        recipe["accessories"] = accessories
    claim_folder(output, MARKER, recipe)
    make_folders(output / split / kind for split, _ in SPLITS for kind in ("images", "masks"))
    jobs = [
        job
        for job in _plan(output, count, seed, size, labels, accessories)
        if not (job.picture.exists() and job.mask.exists())
    ]
    for _ in parallel_map(_write_face, jobs, "drawing faces", workers):
        pass


def _plan(
    output: Path, count: int, seed: int, size: int, labels: LabelSet, accessories: float
) -> Iterator[Job]:
    """All jobs of a set, split after split; the traits are planned for each split as a whole."""
    start = 0
    for split, share in SPLITS:
        stop = round(count * share)
        traits = plan_traits(stop - start, np.random.default_rng((seed, start)), accessories=accessories)
        for index in range(start, stop):
            yield Job(output / split, f"{index:06d}", (seed, index), size, traits[index - start], labels)
        start = stop


def _write_face(job: Job) -> None:
    """Draw and write one pair; the picture comes last, so that a picture always has its mask."""
    picture, ids = draw_portrait(np.random.default_rng((*job.seed, 1)), job.size, job.traits)
    if job.labels != CELEBAMASK:
        ids = read_encoding("celebamask-hq", job.labels).table()[ids]
    mask = Image.fromarray(ids, mode="P")
    palette = job.labels.palette
    # Pillow writes the ids of 16 colours and fewer in 4 bits: ignored pixels, 255, would become 15.
    mask.putpalette(palette if len(job.labels) > 16 else (*palette, *[0] * (3 * 256 - len(palette))))
    write_whole(job.mask, _encoded(mask, "png"))
    write_whole(job.picture, _encoded(Image.fromarray(picture), "jpeg", quality=JPEG_QUALITY))


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def main(
    output: Path = Path("data/synthetic"),
    count: int = 1200,
    seed: int = 0,
    size: int = 256,
    labels: str = "celebamask",
    accessories: float = 1.0,
) -> None:
    """Draw synthetic faces with exact masks.

    Args:
        output: Folder to make; an unfinished run in it goes on.
        count: Number of faces, split 80/10/10 into train, val and test.
        seed: Another seed gives other faces.
        size: Width and height in pixels.
        labels: Label set of the masks: celebamask, lapa, face-synthetics, coarse, or a .toml or .json file.
        accessories: How many times as often as in CelebAMask-HQ glasses, hats and jewellery come.
    """
    with one_line_errors():
        chosen = read_label_set(labels)
        write_dataset(output, count, seed, size, labels=chosen, accessories=accessories)
        ignored = read_encoding("celebamask-hq", chosen).ignored
        left_out = f"; without a label, so ignored: {', '.join(ignored)}" if ignored else ""
        print(f"{count} faces of {size}x{size} in {output}{left_out}")


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
