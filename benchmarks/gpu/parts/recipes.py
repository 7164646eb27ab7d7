"""Every recipe, network and option trains for one short epoch: what fails on a GPU fails here."""

import shutil
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data.links import link_faces
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.steps import config_of
from lisa.config import Config
from lisa.training.loop import fit
from lisa.world import World

VARIANTS = (
    *("report", "best", "demo", "finder", "drawn"),
    *("report --model.name unet", "report --model.name segnext"),
    "best --model.name lisa_fold4",
    *("best --model.activation relu", "best --model.activation gelu", "best --model.hamburger nmf"),
    *("best --train.precision fp32", "best --train.precision tf32", "best --train.precision bf16"),
    *("best --train.accumulate 2", "best --auto-batch", "best --train.activation-checkpointing"),
    *("best --train.deterministic", "best --train.gradients bf16", "report --train.views 2"),
    *("best --augment.blur 2", "best --augment.jpeg 50", "best --augment.texture 1"),
    *("best --optim.schedule poly", "best --optim.clip-norm 0"),
    *("best --optim.ema-decay 0", "best --data.cache CACHE", "best --data.workers 0"),
    *("report --train.compile", "best --train.compile", "best --train.compile --train.accumulate 2"),
    "best --train.compile --train.activation-checkpointing",
)
"""Command lines as people write them; CACHE is a folder."""

IN_REHEARSAL = ("report", "best")


def run(bench: Bench) -> None:
    """A row for each; a failure is a row too, and the part's outcome."""
    scratch = Path(bench.output) / "scratch"
    data = link_faces(Path(bench.data), scratch / "faces", bench.pick(32, 4), 2)
    variants = bench.pick(VARIANTS, IN_REHEARSAL)
    failed: list[str] = []
    for number, words in enumerate(variants):
        if bench.no_time(", ".join(variants[number:])):
            break
        try:
            config = short(config_of(words.replace("CACHE", str(scratch / "cache")), bench), bench, data)
            config = replace(config, output=str(scratch / f"run{number}"))
            bench.row("an epoch each", options=words, **trained(config, bench))
        except Exception as error:  # any of all that may fail on a new device; the next one must be tried
            traceback.print_exc()
            failed.append(words)
            text = str(error).strip().splitlines()
            reason = f"{type(error).__name__}: {text[0][:200] if text else ''}"
            bench.row("an epoch each", options=words, failed=reason)
    shutil.rmtree(scratch)
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(variants)} failed: {'; '.join(failed)}")


def short(config: Config, bench: Bench, data: Path) -> Config:
    """The same options for one epoch of few small pictures."""
    return replace(
        config,
        data=replace(
            config.data,
            root=str(data),
            size=bench.pick(64, 32),
            workers=bench.pick(2 if config.data.workers else 0, 0),
        ),
        train=replace(config.train, epochs=1, batch_size=bench.pick(8, 2)),
    )


def trained(config: Config, bench: Bench) -> dict[str, Any]:
    """Trains; the epoch's figures and all seconds, set-up and evaluation included."""
    records: list[dict[str, Any]] = []
    start = time.perf_counter()
    fit(config, World(device=bench.device), on_epoch=records.append)
    return {
        "seconds": time.perf_counter() - start,
        "train_loss": records[0]["train_loss"],
        "val_loss": records[0]["loss"],
        "mIoU": records[0]["miou"],
        "skipped_steps": float(records[0]["skipped_steps"]),
    }
