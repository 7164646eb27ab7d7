"""Two processes train compiled as they train eager."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from forked_ranks import run_ranks
from process_helpers import FLAGS

from lisa.run import checkpoint

TINY = ("--model.widths", "4", "4", "6", "8", "8", "--model.depths", "1", "1", "1", "1", "1")
OPTIONS = ("--epochs", "1", "--train.precision", "fp32", "--train.activation-checkpointing")


@pytest.mark.slow
def test_two_processes_train_compiled_as_eager(make_faces: Callable[..., Path], tmp_path: Path):
    """Two pictures a rank, then one; blocks computed again; one exchange of gradients a step."""
    root = make_faces(train=6)
    losses: list[float] = []
    for name, words in {"eager": (), "compiled": ("--train.compile",)}.items():
        run = tmp_path / name
        options = (
            "report",
            "--data",
            root,
            "--output",
            run,
            "--train.views",
            1,
            *FLAGS,
            *TINY,
            *OPTIONS,
            *words,
        )
        done = run_ranks("compiled_train", *options)
        assert done.returncode == 0, done.stderr
        lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        losses += [line["train_loss"] for line in lines if "train_loss" in line]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    weights = [checkpoint.load(tmp_path / name / "last.pt")["weights"] for name in ("eager", "compiled")]
    assert weights[0].keys() == weights[1].keys()
