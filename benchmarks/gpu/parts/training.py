"""Training end to end, loader and all: the report's recipe against the plain loop on the same device."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data.links import link_faces
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.measure import forget_peak, peak_gib
from benchmarks.gpu.steps import config_of
from benchmarks.training.plain import train
from lisa.data.parallel import available_cores
from lisa.training.loop import fit
from lisa.world import World


def run(bench: Bench) -> None:
    """A row each: images per second of an epoch after one to warm up."""
    size, count, steps = bench.pick(512, 32), bench.pick(40, 2), bench.pick(12, 1)
    workers = bench.pick(min(12, available_cores()), 0)
    scratch = Path(bench.output) / "scratch"
    data = link_faces(Path(bench.data), scratch / "faces", steps * count, 2)
    forget_peak(bench.device)
    plain = train(data, size, count, steps, workers, bench.device)
    title = f"{count} pictures a step at {size}x{size}, {workers} decoding processes"
    bench.row(title, what="plain loop", images_per_second=plain, ratio=1.0, peak_GiB=peak_gib(bench.device))
    cached = f"--data.cache {scratch / 'cache'}"
    variants = {
        "report": "report --train.views 1",
        "report, cached": f"report --train.views 1 {cached}",
        "report, cached, fp32": f"report --train.views 1 --train.precision fp32 {cached}",
        "best at this batch, cached": f"best {cached}",
        "report, cached, compiled": f"report --train.views 1 --train.compile {cached}",
    }
    for number, (name, words) in enumerate(bench.pick(variants, dict([*variants.items()][:1])).items()):
        if bench.no_time(name):
            return
        config = config_of(words, bench, size=size, workers=workers)
        config = replace(
            config,
            data=replace(config.data, root=str(data)),
            train=replace(config.train, epochs=2, batch_size=count),
            output=str(scratch / f"run{number}"),
        )
        forget_peak(bench.device)
        records: list[dict[str, Any]] = []
        fit(config, World(device=bench.device), on_epoch=records.append)
        timing = records[-1]["timing"]
        bench.row(
            title,
            what=name,
            images_per_second=timing["images_per_second"],
            ratio=timing["images_per_second"] / plain,
            peak_GiB=peak_gib(bench.device),
            data_wait_share=timing["data_wait_share"],
        )
