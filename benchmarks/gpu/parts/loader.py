"""Images per second of the loader alone, by its processes, decoding and from the cache."""

import tempfile

from benchmarks.data.loading import images_per_second
from benchmarks.gpu.bench import Bench
from lisa.data.cache import open_faces
from lisa.data.folders import find_pairs


def run(bench: Bench) -> None:
    """A row each. Many processes first: few take longest."""
    size, batch = bench.pick(512, 32), bench.pick(40, 2)
    pairs = find_pairs(bench.data, "train")[: bench.pick(2000, 4)]
    with tempfile.TemporaryDirectory() as folder:
        # A rehearsal keeps to decoding: processes that fill a cache take seconds to start.
        for cached in bench.pick((False, True), (False,)):
            faces = open_faces(pairs, size, folder if cached else "")
            for workers in bench.pick((12, 6, 2), (0,)):
                if bench.no_time(f"{workers} processes, {'cached' if cached else 'decoding'}"):
                    continue
                rate = images_per_second(faces, len(pairs), workers, batch, epochs=1)
                bench.row(
                    f"{len(pairs)} faces at {size}x{size}",
                    processes=float(workers),
                    cached=cached,
                    images_per_second=rate,
                )
