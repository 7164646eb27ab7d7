"""A trial without Ray around it: what it reports, how it goes on, diverges, runs over processes, is timed."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from deploy_helpers import write_checkpoint

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.errors import InputError
from lisa.world import World
from tune import trial
from tune.experiment import Experiment
from tune.space import Point
from tune.storage import local_data
from tune.torchrun import epoch_records, tied_environment
from tune.trial import Job, exported_milliseconds, run_trial

NARROW = ModelConfig(widths=(4, 6, 8, 10, 12), depths=(1, 1, 1, 1, 1))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the trial "t" tells Ray."""
    heard: list[dict[str, Any]] = []
    fake = SimpleNamespace(
        get_context=lambda: SimpleNamespace(get_trial_id=lambda: "t"),
        report=heard.append,
    )
    node = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(trial, "ray_tune", fake)
    monkeypatch.setattr(trial, "ray", SimpleNamespace(get_runtime_context=lambda: node))
    return heard


def job(root: str, results: str, epochs: int = 2, **settings: Any) -> Job:
    data = DataConfig(root=root, size=32, workers=0)

    def config(point: Point) -> Config:
        optim = OptimConfig(lr=point["lr"], ema_decay=0)
        return Config(data, NARROW, optim=optim, train=TrainConfig(epochs=epochs, batch_size=2))

    return Job(config, results, **settings)


def test_every_epoch_is_reported_and_a_second_life_goes_on(
    make_faces: Callable[..., Path], tmp_path: Path, reports: list[dict[str, Any]]
):
    root = str(make_faces())
    run_trial({"lr": 1e-3}, job(root, str(tmp_path / "s")))
    assert [report["epoch"] for report in reports] == [1, 2]
    first = reports[-1]
    assert first["best_miou"] == first["curve"][-1] == max(first["curve"])
    assert not first["diverged"]
    assert first["parameters"] == 7147
    run_trial({"lr": 1e-3}, job(root, str(tmp_path / "s"), epochs=3))
    assert [report["epoch"] for report in reports] == [1, 2, 3]
    assert reports[-1]["curve"][:2] == first["curve"]
    run_trial({"lr": 1e-3}, job(root, str(tmp_path / "s"), epochs=3))  # killed between its end and Ray's note
    assert [report["epoch"] for report in reports] == [1, 2, 3, 3]


def test_a_trial_behind_urls_goes_on_on_another_machine(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    reports: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    root, results = f"file://{make_faces()}", f"file://{tmp_path}/bucket"
    for machine, epochs in (("one", 1), ("two", 2)):
        (tmp_path / machine).mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / machine))
        run_trial({"lr": 1e-3}, job(root, results, epochs))
    assert [report["epoch"] for report in reports] == [1, 2]
    mirrored = sorted(path.name for path in (tmp_path / "bucket/trials/t").iterdir())
    assert mirrored == ["best.pt", "config.json", "last.pt", "metrics.jsonl"]
    assert [record["epoch"] for record in epoch_records(tmp_path / "bucket/trials/t")] == [1, 2]
    assert Path(local_data(root)).parent.parent == tmp_path / "two"
    assert not list((tmp_path / "two").glob("lisa-trial-*"))
    (tmp_path / "two" / Path(local_data(root)).parent.name).chmod(0o777)
    with pytest.raises(InputError, match="is not yours alone"):
        local_data(root)


def test_a_diverged_trial_scores_0(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    reports: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        "lisa.losses.SegmentationLoss.forward", lambda self, logits, masks: logits.sum() * math.nan
    )
    run_trial({"lr": 1e-3}, job(str(make_faces(train=24)), str(tmp_path / "s")))
    assert [(report["best_miou"], report["diverged"]) for report in reports] == [(0.0, True)]


@pytest.mark.parametrize(
    ("gpus", "shares"),
    [
        (0.25, [(0.1875, torch.device("cuda", 0))]),  # of 8 GiB 2, and half a GiB for CUDA itself
        (0.05, [(0.0, torch.device("cuda", 0))]),
        (1, []),
        (0, []),
    ],
)
def test_trials_that_share_a_gpu_have_a_share_of_its_memory(
    gpus: float,
    shares: list[Any],
    tmp_path: Path,
    reports: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
):
    asked: list[Any] = []

    def fit(config: Config, world: World, resume: bool, on_epoch: Callable[..., None]) -> None:
        assert world.device.type == ("cuda" if gpus else "cpu")
        log = Path(config.output, "metrics.jsonl")
        log.write_text(json.dumps({"event": "epoch", "epoch": 1, "miou": 0.1, "report_f1": 0.2}) + "\n")

    card = SimpleNamespace(total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *share: asked.append(share))
    monkeypatch.setattr(trial, "fit", fit)
    run_trial({"lr": 1e-3}, job("data", str(tmp_path), gpus=gpus))
    assert asked == shares
    assert len(reports) == 1


def test_what_can_not_run_is_an_error_and_no_score(tmp_path: Path, reports: list[dict[str, Any]]):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        run_trial({"lr": 1e-3}, job(str(tmp_path / "nowhere"), str(tmp_path / "s")))
    assert reports == []


@pytest.mark.slow
def test_a_trial_over_two_processes(
    make_faces: Callable[..., Path], tmp_path: Path, reports: list[dict[str, Any]]
):
    """The whole way of a torchrun trial: epochs are heard."""
    root, results = make_faces(train=4), str(tmp_path / "s")
    run_trial({"lr": 1e-3}, job(str(root), results, processes=2))
    assert [report["epoch"] for report in reports] == [1, 2]
    assert "2 x cpu" in (tmp_path / "s/trials/t/torchrun.log").read_text()


def test_divergence_over_processes_is_told_from_a_failure(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    words = "import os; open(os.environ['LISA_STATUS_FILE'], 'w').write('3\\n')"
    monkeypatch.setattr("tune.torchrun._torchrun", lambda processes: [sys.executable, "-c", words])
    run_trial({"lr": 1e-3}, job(str(tmp_path), str(tmp_path / "s"), processes=2))
    assert [(report["best_miou"], report["diverged"]) for report in reports] == [(0.0, True)]


def test_epochs_that_come_together_are_reported_one_by_one(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    """The second is the worse one: the best stays the first, with its own F1."""
    lines = "".join(
        json.dumps({"event": "epoch", "epoch": n, "miou": miou, "report_f1": 2 * miou}) + "\n"
        for n, miou in ((1, 0.3), (2, 0.2))
    )
    log = tmp_path / "s/trials/t/metrics.jsonl"
    writing = [sys.executable, "-c", f"open({str(log)!r}, 'w').write({lines!r})"]
    monkeypatch.setattr("tune.torchrun._torchrun", lambda processes: writing)
    run_trial({"lr": 1e-3}, job(str(tmp_path), str(tmp_path / "s"), processes=2))
    names = ("epoch", "miou", "best_miou", "best_report_f1", "curve")
    told = [tuple(report[name] for name in names) for report in reports]
    assert told == [(1, 0.3, 0.3, 0.6, [0.3]), (2, 0.2, 0.3, 0.6, [0.3, 0.3])]


def test_what_is_written_after_the_last_epochs_line_travels_too(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    record = json.dumps({"event": "epoch", "epoch": 1, "miou": 0.1, "report_f1": 0.2}) + "\n"
    script = f"""
import sys, time
from pathlib import Path
folder = Path(sys.argv[1]).parent
(folder / "metrics.jsonl").write_text({record!r})
time.sleep(1)
(folder / "last.pt").write_text("after the line")
"""
    running = [sys.executable, "-c", script]
    monkeypatch.setattr("tune.torchrun._torchrun", lambda processes: running)
    monkeypatch.setattr("tune.torchrun.tied", lambda command: [*command[:3], command[4]])
    run_trial({"lr": 1e-3}, job(str(tmp_path), f"file://{tmp_path}/bucket", processes=2))
    assert [report["epoch"] for report in reports] == [1]
    assert (tmp_path / "bucket/trials/t/last.pt").read_text() == "after the line"


def test_a_trial_must_fit_on_one_node():
    def slots(*nodes: dict[str, float]) -> int:
        return Experiment(job("data", "results"), {"cpu": 4, "gpu": 0}, trials=10).slots(nodes)

    assert slots({"CPU": 9}, {"CPU": 7}, {"CPU": 3}) == 3
    assert slots({"CPU": 64}) == 10
    with pytest.raises(InputError, match=r"on one node, Ray's have 2 CPUs, 0 GPUs; 2 CPUs, 0 GPUs"):
        slots({"CPU": 2}, {"CPU": 2})


def test_a_failure_of_torchrun_is_told_with_its_last_words(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    words = "import os; open(os.environ['LISA_STATUS_FILE'], 'w').write('started\\n'); print('no such luck')"
    failing = [sys.executable, "-c", f"{words}; raise SystemExit(7)"]
    monkeypatch.setattr("tune.torchrun._torchrun", lambda processes: failing)
    with pytest.raises(InputError, match=r"(?s)code 7; .*torchrun\.log:\nno such luck"):
        run_trial({"lr": 1e-3}, job(str(tmp_path), str(tmp_path / "s"), processes=2))
    assert reports == []


def test_a_tied_command_ends_with_its_parent(tmp_path: Path):
    child = f"import os,time; open({str(tmp_path / 'pid')!r},'w').write(str(os.getpid())); time.sleep(200)"
    parent = f"""
import subprocess, time
from tune.torchrun import tied, tied_environment
subprocess.Popen(tied([{sys.executable!r}, "-c", {child!r}]), env=tied_environment())
time.sleep(200)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], env=tied_environment())
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, 0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not alive(pid))


def test_a_half_written_line_is_no_epoch(tmp_path: Path):
    lines = [json.dumps({"event": "epoch", "epoch": n, "miou": 0.1}) for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines)[:-5])
    assert [record["epoch"] for record in epoch_records(tmp_path)] == [1, 2]
    assert epoch_records(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("print('a warning', file=sys.stderr); sys.exit('error: no such luck')", "no such luck"),
        ("os.kill(os.getpid(), 9)", "code -9"),
    ],
)
def test_a_failed_export_is_told_with_its_last_words(
    failing: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exporting = [sys.executable, "-c", f"import os, sys; {failing}"]
    monkeypatch.setattr(trial, "tied", lambda command: exporting)
    with pytest.raises(InputError, match=rf"best\.pt can't be exported and timed: {words}$"):
        exported_milliseconds(tmp_path / "best.pt", 64)


@pytest.mark.slow
def test_the_exported_file_is_timed(tmp_path: Path):
    threads = torch.get_num_threads()
    assert 0.1 < exported_milliseconds(write_checkpoint(tmp_path / "best.pt"), 64) < 60_000
    assert (tmp_path / "lisa.ts").exists()
    assert torch.get_num_threads() == threads


def wait_until(condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_trials_best_is_the_runs_own(
    tmp_path: Path, reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
):
    """The val faces changed after two epochs: the run counts from there on, and so does best.pt."""
    figures = ((1, 0.8, 1), (2, 0.9, 2), (3, 0.3, 3), (4, 0.2, 3))

    def fit(config: Config, world: World, resume: bool, on_epoch: Callable[..., None]) -> None:
        records = (
            {"event": "epoch", "epoch": epoch, "miou": miou, "report_f1": miou / 2, "best_epoch": best}
            for epoch, miou, best in figures
        )
        lines = [json.dumps(record) + "\n" for record in records]
        Path(config.output, "metrics.jsonl").write_text("".join(lines))

    monkeypatch.setattr(trial, "fit", fit)
    run_trial({"lr": 1e-3}, job("data", str(tmp_path)))
    (report,) = reports
    assert report["curve"] == [0.8, 0.9, 0.3, 0.3]
    assert (report["best_miou"], report["best_report_f1"]) == (0.3, 0.15)
