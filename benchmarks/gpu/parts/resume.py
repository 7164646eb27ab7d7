"""A run that was stopped and resumed against an undisturbed one, and against the same run again."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.data.links import link_faces
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.steps import config_of
from lisa.config import Config
from lisa.run.checkpoint import load
from lisa.training.loop import fit
from lisa.world import World


def run(bench: Bench) -> None:
    """Rows by precision and determinism: how far the weights lie apart in the end."""
    scratch = Path(bench.output) / "scratch"
    data = link_faces(Path(bench.data), scratch / "faces", bench.pick(64, 4), 2)
    variants = [(precision, switch) for precision in ("fp32", "bf16") for switch in (True, False)]
    for precision, deterministic in bench.pick(variants, variants[:1]):
        if bench.no_time(f"{precision}, deterministic {deterministic}"):
            break
        words = f"best --train.precision {precision}{' --train.deterministic' if deterministic else ''}"
        config = config_of(words, bench, size=bench.pick(128, 32), workers=bench.pick(2, 0))
        train = replace(config.train, epochs=2, batch_size=bench.pick(16, 2))
        config = replace(config, data=replace(config.data, root=str(data)), train=train)
        weights = {
            name: trained(replace(config, output=str(scratch / name)), bench, stop=name == "resumed")
            for name in ("undisturbed", "again", "resumed")
        }
        for name in ("again", "resumed"):
            far = apart(weights["undisturbed"], weights[name])
            bench.row(
                "against the undisturbed run",
                run=name,
                precision=precision,
                deterministic=deterministic,
                equal=far == 0,
                largest_difference=far,
            )
            shutil.rmtree(scratch / name)
        shutil.rmtree(scratch / "undisturbed")
    shutil.rmtree(scratch)


def trained(config: Config, bench: Bench, stop: bool) -> dict[str, Any]:
    """The last checkpoint's weights of two epochs; with ``stop`` the second one is resumed."""
    world = World(device=bench.device)

    def ask_to_stop(record: dict[str, Any]) -> None:
        world.stop_asked = True

    if stop:
        assert not fit(config, world, on_epoch=ask_to_stop).finished
        assert fit(config, World(device=bench.device), resume=True).finished
    else:
        fit(config, world)
    return load(str(Path(config.output) / "last.pt"))["training"]["network"]


def apart(first: dict[str, Any], second: dict[str, Any]) -> float:
    """The largest difference of any weight; 0 if all bits are equal."""
    if all(torch.equal(each, second[name]) for name, each in first.items()):
        return 0.0
    differences = [(each.double() - second[name].double()).abs().max() for name, each in first.items()]
    return max(difference.item() for difference in differences)
