"""Runs that stop and go on, and what "bit-equal" means for two: weights, optimizer, figures, logs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lisa.run import checkpoint
from lisa.world import World


@dataclass
class Stopped(World):
    """Asked to stop at so many questions from the start."""

    stop_in: int = 4

    def all_max(self, value: int) -> int:
        self.stop_in -= 1
        self.stop_asked = self.stop_in == 1
        return value


def assert_same_run(whole: Path, parts: Path) -> None:
    """Two run folders hold the same run, but for clocks."""
    for name in ("last.pt", "best.pt"):
        left, right = checkpoint.load(whole / name), checkpoint.load(parts / name)
        for key in ("weights", "metrics", "training"):
            assert_equal(left.get(key), right.get(key), f"{name}: {key}")
    assert records(whole) == records(parts)
    assert scalars(whole) == scalars(parts)


def records(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "timing"} for line in lines]


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Each curve's points: a step that comes twice would be seen."""
    events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "images": 0})
    events.Reload()
    tags: Any = events.Tags()["scalars"]
    curves = {tag: events.Scalars(tag) for tag in tags}
    pictures = events.Images("val/best")
    assert len({event.step for event in pictures}) == len(pictures) > 0
    return {
        tag: [(event.step, event.value) for event in curve]
        for tag, curve in curves.items()
        if not tag.startswith("speed/")
    }


def assert_equal(left: Any, right: Any, where: str) -> None:
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            if key not in ("log_offset", "timing"):  # clocks have more or fewer digits
                assert_equal(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_equal(one, other, f"{where}[{number}]")
    else:
        assert left == right, where
