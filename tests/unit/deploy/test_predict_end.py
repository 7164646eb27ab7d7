"""What a run tells at its end: doubtful maps, and how an interrupted one goes on."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from deploy_helpers import files, parse, write_checkpoint, write_faces

from deploy.export import export
from deploy.predictor.command import goes_on_from_here
from deploy.predictor.options import arguments
from deploy.predictor.report import Outcome, Report


def test_pictures_whose_logits_explode_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = write_checkpoint(tmp_path / "best.pt", widths=(8, 8, 12, 16, 24), depths=(1, 1, 1, 1, 1))
    stored = torch.load(checkpoint, weights_only=True)
    for name in ("final.weight", "final.bias"):
        stored["weights"][name] *= 1e6
    torch.save(stored, checkpoint)
    export(checkpoint, tmp_path / "lisa.ts", finder="none")
    write_faces(tmp_path / "in", 2, (80, 60))
    source, output = tmp_path / "in", tmp_path / "out"
    assert parse(tmp_path / "lisa.ts", source, output) == 0
    assert "2 maps may be nonsense, the network's numbers explode there:" in capsys.readouterr().out
    assert files(output) == ["face0.png", "face1.png"]
    told = json.loads((output / "report.json").read_text())["doubtful"]
    assert sorted(told) == sorted(map(str, source.iterdir()))
    assert all(float(text.removeprefix("|logit| ")) > 1e4 for text in told.values())


def test_ordinary_logits_are_not_told(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 2, (80, 60))
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["doubtful"] == {}


def test_an_interrupted_overwrite_goes_on_without_it(model: Path) -> None:
    command = ["--model", str(model), "--input", "in", "--output", "out"]
    assert goes_on_from_here(arguments(command)) == "the same command goes on from here"
    again = goes_on_from_here(arguments([*command, "--overwrite"]))
    assert again == "the same command without --overwrite goes on from here"


def test_a_signal_after_the_last_picture_interrupts_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    count = Report.count

    def counted(report: Report, outcome: Outcome, where: str) -> None:
        count(report, outcome, where)
        os.kill(os.getpid(), signal.SIGTERM)

    write_faces(tmp_path / "in", 1)
    monkeypatch.setattr(Report, "count", counted)
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "1 done" in shown
    assert "interrupted" not in shown
    assert not json.loads((tmp_path / "out/report.json").read_text())["interrupted"]
