"""The launch command in this process: what it refuses, prints, and starts one after another."""

import shutil
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from distributed import launch
from lisa.config.command_line import parse_training


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """What would have been started: torchrun's options, another Python's words."""
    heard: list[Sequence[str]] = []

    def run(options: Sequence[str], environment: dict[str, str]) -> int:
        heard.append(options)
        return 0

    def python(*words: str) -> int:
        heard.append(words)
        return 3 if "deploy.export" in words else 0

    monkeypatch.setattr(launch, "run_agent", run)
    monkeypatch.setattr(launch, "_python", python)
    monkeypatch.setattr(launch, "count_gpus", lambda environment: 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**40))
    for name in ("NNODES", "NODE_RANK", "MASTER_ADDR", "NPROC", "SLURM_JOB_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)
    return heard


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bst"], "no recipe 'bst'"),
        (["best", "--lr", "-1"], "optim.lr = -1.0: above 0"),
        (["best", "--no-such-flag", "1"], "--no-such-flag"),
    ],
)
def test_wrong_arguments_are_said_once_and_start_nothing(
    arguments: list[str], message: str, started: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        launch.main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.count(message) == 1
    assert "torchrun" not in said.out
    assert started == []


def test_wrong_variables_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("NNODES", "many")
    with pytest.raises(SystemExit) as ended:
        launch.main(["best"])
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: NNODES=many: a number of nodes, or a range as 1:4\n")


def test_a_batch_without_a_picture_for_each_process_is_refused_before_torch_starts(
    started: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Another node may have a single process; a range of nodes may stay as small as its smaller number."""
    for name, value in (("NPROC", "2"), ("NNODES", "2"), ("NODE_RANK", "0"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        launch.main(["report", "--batch-size", "2"])
    assert ended.value.code == 2
    rule = "at least one picture for each of 3 processes: raise it, or use fewer (NPROC)"
    assert capsys.readouterr() == ("", f"error: train.batch_size = 2: {rule}\n")
    assert started == []
    assert launch.main(["report", "--batch-size", "3"]) == 0
    monkeypatch.setenv("NNODES", "1:2")
    assert launch.main(["report", "--batch-size", "2"]) == 0


def test_help_starts_nothing(started: list[Sequence[str]], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        launch.main(["best", "--help"])
    assert ended.value.code == 0
    assert "--optim.lr" in capsys.readouterr().out
    assert started == []


def test_the_line_is_printed_and_run_but_for_a_dry_run(
    started: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
):
    assert launch.main(["--dry-run", "report", "--data", "my faces"]) == 0
    assert started == []
    line = capsys.readouterr().out
    assert line.startswith("torchrun --nnodes=1 --nproc-per-node=")
    assert line.endswith("-m distributed.train report --data 'my faces'\n")
    assert launch.main(["report", "--data", "my faces", "--dry-run"]) == 0
    assert started == []
    assert capsys.readouterr().out == line
    assert launch.main(["report", "--data", "my faces"]) == 0
    assert capsys.readouterr().out == line
    assert [options[-1] for options in started] == ["my faces"]


def test_a_small_dev_shm_is_refused_before_torch_starts(
    started: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Two nodes share batches of 16; this one's two processes have two workers each: 7 batches of 4."""
    for name, value in (("NPROC", "2"), ("NNODES", "2"), ("NODE_RANK", "0"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    command = ["report", "--size", "512", "--batch-size", "16", "--data.workers", "2"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=56 * 2**20 - 1))
    with pytest.raises(SystemExit) as ended:
        launch.main(command)
    assert ended.value.code == 2
    assert started == []
    assert "4 decoding processes need 56 MiB: give the container more" in capsys.readouterr().err
    assert launch.main([*command, "--data.workers", "0"]) == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=56 * 2**20))
    assert launch.main(command) == 0


def test_the_demonstration_ends_with_the_first_code_that_is_not_0(
    started: list[Sequence[str]], capsys: pytest.CaptureFixture[str]
):
    assert launch.main([]) == 3
    assert "Done" not in capsys.readouterr().out
    drawn, trained, exported = started
    assert drawn[:2] == ("-m", "lisa.data.synthetic")
    config = parse_training(trained[trained.index("demo") :]).config
    assert (config.data.root, config.output, config.train.init) == ("data/synthetic", "runs/demo", "drawn")
    assert exported[:2] == ("-m", "deploy.export")
