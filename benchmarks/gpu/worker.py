"""The process of one part: ``python -m benchmarks.gpu.worker MODULE BENCH``, started by the driver."""

import importlib
import sys

from benchmarks.gpu.bench import Bench


def main(module: str, bench: str) -> None:
    """Runs the part of this module."""
    importlib.import_module(module).run(Bench.from_json(bench))


if __name__ == "__main__":
    main(*sys.argv[1:])
