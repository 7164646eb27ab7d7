"""Faces per second of lisa.data.celebamask.convert on generated raw data, and where the time goes.

    python -m benchmarks.data.conversion --faces 200

Raw data as in the release: a JPEG of 1024x1024 and a black and white RGB PNG of 512x512 for each part.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tyro

from benchmarks.data.raw_celebamask import PARTS, PICTURES, write_mapping, write_raw_face
from lisa.data.celebamask.convert import convert, encode_mask, encode_picture, merge_parts, read_picture
from lisa.data.celebamask.source import list_parts
from lisa.data.parallel import available_cores
from lisa.labels import PAINT_ORDER


def milliseconds(step: Callable[[], object], repeats: int = 20) -> float:
    """Mean time of one call, after one to warm up."""
    step()
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - start) / repeats * 1000


def main(faces: int = 200, workers: int | None = None) -> None:
    """Time the conversion.

    Args:
        faces: How many to generate and convert.
        workers: Processes; all available cores by default.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "raw"
        print(f"generating {faces} raw faces ...")
        for index in range(faces):
            write_raw_face(source, index)
        write_mapping(source, list(range(faces)))
        parts = list_parts(source / PARTS)
        per_face = sum(map(len, parts.values())) / faces
        start = time.perf_counter()
        convert(source, Path(folder) / "out", workers=workers)
        seconds = time.perf_counter() - start
        print(
            f"{faces / seconds:.1f} faces/s with {workers or available_cores()} processes, start-up included"
        )

        ordered = tuple((name, parts[0][name]) for name in PAINT_ORDER if name in parts[0])
        picture, ids = read_picture(source / PICTURES / "0.jpg"), merge_parts(ordered)
        print(f"one face, one process ({per_face:.1f} part masks on average, {len(ordered)} here):")
        for name, step in (
            ("read the picture at half size", lambda: read_picture(source / PICTURES / "0.jpg")),
            ("read and merge the part masks", lambda: merge_parts(ordered)),
            ("encode the picture", lambda: encode_picture(picture)),
            ("encode the mask", lambda: encode_mask(ids)),
        ):
            print(f"  {milliseconds(step):6.2f} ms  {name}")


if __name__ == "__main__":
    tyro.cli(main)
