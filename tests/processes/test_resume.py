"""A run that was killed or stopped anywhere and resumed ends as if nothing had happened."""

import contextlib
import dataclasses
import os
import random
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from resume_helpers import assert_same_run

from lisa.config import Config, DataConfig, ModelConfig, OptimConfig, TrainConfig
from lisa.errors import InputError
from lisa.evaluation import evaluate as evaluation
from lisa.run import checkpoint
from lisa.training.loop import fit
from lisa.world import World

NARROW = ModelConfig(widths=(4, 8, 12, 16, 24))


def small(root: Path, output: Path, every: str = "1steps", epochs: int = 2, batch_size: int = 2) -> Config:
    return Config(
        data=DataConfig(root=str(root), size=32, workers=0),
        model=NARROW,
        optim=OptimConfig(name="muon", ema_decay=0.9),
        train=TrainConfig(epochs=epochs, batch_size=batch_size, checkpoint_every=every),
        output=str(output),
    )


class KilledError(BaseException):
    """Nothing in the loop catches it, as nothing catches kill -9."""


class Fate:
    """Kills at a moment that was drawn before: before a step, in evaluation, before a rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 10**9
        self.aim = ""
        self.killed: list[str] = []
        count, rename = evaluation.count_group, Path.replace

        def counting(*arguments: Any) -> Any:
            self.meet("evaluation")
            return count(*arguments)

        def renaming(path: Path, target: Path) -> Path:
            self.meet(f"before {target.name} was in its place")
            return rename(path, target)

        monkeypatch.setattr(evaluation, "count_group", counting)
        monkeypatch.setattr(Path, "replace", renaming)

    def meet(self, moment: str) -> None:
        self.left -= 1
        if self.left == 0 or moment == self.aim:
            self.killed.append(moment)
            raise KilledError


@dataclasses.dataclass
class Mortal(World):
    fate: Fate | None = None
    stop_in: int = 0
    """Asked to stop at so many questions from now."""

    def all_max(self, value: int) -> int:
        if self.fate is not None:
            self.fate.meet("step")
        self.stop_in -= 1
        self.stop_asked |= self.stop_in == 1
        return value


@pytest.mark.slow
def test_killed_anywhere_again_and_again(
    make_faces: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In each kind of rename, then at moments drawn by lot."""
    root, draw = make_faces(train=6, val=2), random.Random(0)
    fit(small(root, tmp_path / "whole"), World())
    fate, finished = Fate(monkeypatch), False
    aims = [f"before {name} was in its place" for name in ("previous.pt", "best.pt", "last.pt")]
    while not finished:
        fate.left = 10**9 if aims else draw.randint(1, 18)
        fate.aim = aims.pop() if aims else ""
        try:
            finished = fit(small(root, tmp_path / "parts"), Mortal(fate=fate), resume=True).finished
        except KilledError:
            (tmp_path / "parts/.last.pt.tmp").write_bytes(b"half of a checkpoint")
    assert {"step", "evaluation"} < set(fate.killed), fate.killed
    assert len(fate.killed) > 6
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_stopped_anywhere_and_resumed(make_faces: Callable[..., Path], tmp_path: Path):
    """Asked to stop at every second question: between steps, before, in and after evaluation."""
    root = make_faces(train=6, val=2)
    fit(small(root, tmp_path / "whole", every="epoch", epochs=3), World())
    stops = 0
    while not fit(
        small(root, tmp_path / "parts", every="epoch", epochs=3), Mortal(stop_in=2 + stops % 8), True
    ).finished:
        stops += 1
    assert stops > 3
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def flip_a_bit(path: Path) -> None:
    """In the middle of a tensor, where torch.load would not see it."""
    with zipfile.ZipFile(path) as archive:
        tensors = [entry for entry in archive.infolist() if "/data/" in entry.filename]
        largest = max(tensors, key=lambda entry: entry.file_size)
        tensor = archive.read(largest)
    content = bytearray(path.read_bytes())
    content[content.index(tensor) + len(tensor) // 2] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)


def test_a_damaged_last_checkpoint_falls_back(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, run = make_faces(train=6), tmp_path / "parts"
    fit(small(root, tmp_path / "whole"), World())
    fit(small(root, run), Mortal(stop_in=4))
    whole = (run / "last.pt").read_bytes()
    (run / "last.pt").write_bytes(whole[: len(whole) // 2])
    fit(small(root, run), Mortal(stop_in=2), resume=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "last.pt: damaged or no LISA checkpoint" in said
    assert "going on from the checkpoint before it, previous.pt" in said
    flip_a_bit(run / "last.pt")
    assert fit(small(root, run), World(), resume=True).finished
    assert "wrong check sum" in " ".join(capsys.readouterr().out.split())
    assert_same_run(tmp_path / "whole", run)
    for name in ("last.pt", "previous.pt"):
        (run / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint .*last\.pt: damaged.*previous\.pt: damaged"):
        fit(small(root, run), World(), resume=True)


@pytest.mark.slow
def test_a_full_disk_costs_checkpoints_not_the_run(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    root, run = make_faces(train=6), tmp_path / "run"
    fit(small(root, tmp_path / "whole"), World())
    write, calls = checkpoint.write, 0

    def sometimes_full(content: memoryview, path: Path, former: Path | None = None) -> None:
        nonlocal calls
        calls += 1
        if 2 <= calls <= 6:
            raise OSError(28, "No space left on device")
        write(content, path, former)

    monkeypatch.setattr(checkpoint, "write", sometimes_full)
    assert fit(small(root, run), World()).finished
    said = " ".join(capsys.readouterr().out.split())
    assert "no checkpoint at step 2: No space left on device" in said
    assert_same_run(tmp_path / "whole", run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for one checkpoint and a half; root alone may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root and mount")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_for_real(
    make_faces: Callable[..., Path],
    tmp_path: Path,
    small_disk: Path,
    capsys: pytest.CaptureFixture[str],
):
    root, run = make_faces(train=6), small_disk / "run"
    fit(small(root, tmp_path / "whole"), World())
    fit(small(root, run), Mortal(stop_in=2))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(b"0" * 4096):
            pass
    os.truncate(filler, filler.stat().st_size - 2**17)  # for config and logs, not for a checkpoint
    capsys.readouterr()
    with pytest.raises(
        InputError, match="no room for the last checkpoint: make room, then go on with --resume"
    ):
        fit(small(root, run), World(), resume=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "no checkpoint at step 2: No space left on device" in said
    assert checkpoint.load(run / "last.pt")["training"]["batch"] == 1  # as it was stopped
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    assert fit(small(root, run), World(), resume=True).finished
    assert_same_run(tmp_path / "whole", run)


def test_a_changed_number_of_processes_is_said(
    make_faces: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, run = make_faces(train=6), tmp_path / "run"
    fit(small(root, run, batch_size=4), Mortal(stop_in=2))
    saved = checkpoint.load(run / "last.pt")
    saved["training"]["begun_with"] = 2
    checkpoint.save(saved, run / "last.pt")
    assert fit(small(root, run, batch_size=4), World(), resume=True).finished
    said = " ".join(capsys.readouterr().out.split())
    assert "began with 2 processes and goes on with 1: batches of 4 as before, in 2 part(s)" in said


@pytest.mark.parametrize("form", [1, 2])
def test_a_checkpoint_of_an_older_format_goes_on(make_faces: Callable[..., Path], tmp_path: Path, form: int):
    root, run = make_faces(train=6), tmp_path / "run"
    fit(small(root, run), Mortal(stop_in=2))
    saved = checkpoint.load(run / "last.pt")
    del saved["training"]["begun_with"]
    if form == 2:
        saved["training"] |= {"begun_with": 1, "events": {"events.out.tfevents.1.host.2.0": 88}}
    torch.save({**saved, "format": form}, run / "last.pt")
    former = set((run / "tensorboard").iterdir())
    assert fit(small(root, run), World(), resume=True).finished
    assert former < set((run / "tensorboard").iterdir())


def test_a_checkpoint_of_a_newer_format_is_refused_though_there_is_an_older_one(
    make_faces: Callable[..., Path], tmp_path: Path
):
    root, run = make_faces(), tmp_path / "run"
    fit(small(root, run, epochs=1), World())
    assert (run / "previous.pt").exists()
    checkpoint.save({**checkpoint.load(run / "last.pt"), "format": 99}, run / "last.pt")
    with pytest.raises(InputError, match=r"last\.pt: checkpoint format 99, this version reads 1 to 3"):
        fit(small(root, run), World(), resume=True)
