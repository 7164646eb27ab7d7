"""Half an hour of one GPU, in order: what a GPU alone can tell, as one command.

    python -m benchmarks.gpu --minutes 30 --data FOLDER --output FOLDER
    python -m benchmarks.gpu --minutes 9 --data FOLDER --output FOLDER --only device syncs profiling

Each part runs in its own process, for its share of the minutes, and writes each figure when it has it;
``report.md`` and ``report.json`` are written anew after each part. A part that fails is told, and the next
one begins. Several commands may fill one output folder. A machine without CUDA rehearses: everything runs on
the CPU at tiny sizes, and no figure is a result.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tyro

from benchmarks.data.links import link_faces
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.driver import ROOT, Part, run_parts
from benchmarks.gpu.report import ABOUT
from lisa.data.folders import split_folders
from lisa.errors import InputError, one_line_errors
from lisa.system.files import make_folders, write_json

PARTS = (
    Part("device", 1, "copy bandwidth, matmul rate, and the floor that they give"),
    Part("recipes", 3, "all recipes, networks and options for a short epoch"),
    Part("suite", 2, "the tests marked gpu"),
    Part("syncs", 1, "host synchronisations in three steps"),
    Part("profiling", 1, "kernels and memory of a step"),
    Part("precision", 1, "CPU against IEEE fp32, TF32 and bf16"),
    Part("depthwise", 1, "depthwise convolutions by layout, channels and kernel"),
    Part("compiling", 2, "torch.compile against eager"),
    Part("msca", 1, "the fused MSCA against the eager one"),
    Part("losses", 1, "the losses against their former formulas"),
    Part("training", 2, "training end to end against the plain loop on the same device"),
    Part("predictor", 3, "the predictor: sizes, fuser, workers, precision, against the plain one"),
    Part("evaluation", 1, "evaluation per picture"),
    Part("resume", 1, "a resumed run against an undisturbed one"),
    Part("loader", 1.5, "the loader alone, by workers, and cached"),
    Part("quality", 12, "the recipes best and report for equal minutes"),
)


@dataclass(frozen=True)
class Settings:
    """Measures what one GPU alone can tell."""

    data: Path
    """Folder of faces with the splits train and val."""
    output: Path
    """Folder for the report, the parts' rows, logs and runs. Weights trained on the data lie in it."""
    minutes: float = 30
    """Time of all parts together."""
    only: tuple[str, ...] = ()
    """These parts alone, by name."""
    tiny: bool = False
    """Rehearse at tiny sizes on the GPU too."""


def chosen(only: tuple[str, ...]) -> list[Part]:
    """The parts of these names, in their order; all without a name. Raises InputError."""
    unknown = [name for name in only if name not in {part.name for part in PARTS}]
    if unknown:
        raise InputError(f"--only {unknown[0]}: one of {', '.join(part.name for part in PARTS)}")
    return [part for part in PARTS if not only or part.name in only]


def ask_machine() -> dict[str, str]:
    """What :mod:`benchmarks.gpu.machine` prints."""
    command = [sys.executable, "-m", "benchmarks.gpu.machine"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def few_faces(data: Path, folder: Path) -> Path:
    """For a rehearsal: an epoch of a whole set would take its time on any device."""
    shutil.rmtree(folder, ignore_errors=True)  # an earlier rehearsal's
    return link_faces(data, folder, 6, 2)


def run(settings: Settings) -> list[str]:
    """Runs the chosen parts; returns the names of those that failed. Raises InputError."""
    parts = chosen(settings.only)
    for split in ("train", "val"):
        split_folders(settings.data, split)
    machine = ask_machine()
    device = machine.pop("device")
    tiny = settings.tiny or device == "cpu"
    output = settings.output.resolve()
    make_folders([output])
    about: dict[str, str | bool] = {
        **machine,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks.gpu {' '.join(sys.argv[1:])}",
        "rehearsal": tiny,
    }
    write_json(output / ABOUT, about)
    if tiny:
        print("a rehearsal at tiny sizes: no figure is a result", flush=True)
    data = few_faces(settings.data, output / "faces") if tiny else settings.data
    bench = Bench(str(data.resolve()), str(output), device, tiny, 0)
    failed = run_parts(parts, PARTS, bench, settings.minutes, lambda line: print(line, flush=True))
    print(f"wrote {output / 'report.md'}")
    return failed


def main() -> None:
    """Entry point. Exit code 1 if a part failed."""
    settings = tyro.cli(Settings, prog="python -m benchmarks.gpu", description=__doc__)
    with one_line_errors():
        failed = run(settings)
    if failed:
        sys.exit(f"not finished: {', '.join(failed)}")


if __name__ == "__main__":
    main()
