"""A search's command line; its folder is claimed, and free again if the command was wrong."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lisa.config import Config, best
from lisa.config.command_line import parse
from lisa.errors import InputError
from tune import search
from tune.arguments import MARKER, Options, claim, run_entry, settle
from tune.search import SearchArguments, with_own_output

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_bad_input_before_the_first_trial_leaves_the_folder_free(kind: str, tmp_path: Path):
    results = str(tmp_path / "s") if kind == "folder" else f"file://{tmp_path}/s"

    def refuse() -> None:
        with claim(results, {"trials": 1}, resume=False):
            assert (tmp_path / "s" / MARKER).exists()
            raise InputError("no node sees the data")

    for _ in range(2):  # the second without --resume
        with pytest.raises(InputError, match="no node"):
            refuse()
    assert list((tmp_path / "s").iterdir()) == []
    with claim(results, {"trials": 2}, resume=False):
        (tmp_path / "s/trials").mkdir()
    assert json.loads((tmp_path / "s" / MARKER).read_text()) == {"trials": 2}


def test_a_folder_with_trials_stays_claimed(tmp_path: Path):
    def fail_later() -> None:
        with claim(str(tmp_path), {}, resume=False):
            (tmp_path / "trials").mkdir()
            raise InputError("later")

    with pytest.raises(InputError, match="later"):
        fail_later()
    with (
        pytest.raises(InputError, match="holds a search: go on with --resume"),
        claim(str(tmp_path), {}, False),
    ):
        pass


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_search_of_an_older_version_goes_on(kind: str, tmp_path: Path):
    """Begun when there were no label sets, no --data.repair, a focal loss, an encoding of another name."""
    recipe = SearchArguments(config=Config()).recipe()
    before = {name: value for name, value in recipe.items() if not name.startswith("labels.")}
    del before["data.repair"], before["data.encoding"]
    before |= {"data.label_order": "", "loss.focal": 0.0}
    results = str(tmp_path / "s") if kind == "folder" else f"file://{tmp_path}/s"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / MARKER).write_text(json.dumps(before))
    with claim(results, json.loads(json.dumps(recipe)), resume=True):
        pass
    (tmp_path / "s" / MARKER).write_text(json.dumps(before | {"optim.lr": 1.0}))
    with (
        pytest.raises(InputError, match=r"s was begun with optim\.lr=1\.0, not optim\.lr=0\.002"),
        claim(results, json.loads(json.dumps(recipe)), resume=True),
    ):
        pass


@pytest.mark.parametrize("kind", ["folder", "url"])
@pytest.mark.parametrize(
    ("content", "fault"), [("[]", "it holds no object"), ("{", "Expecting property name")]
)
def test_a_damaged_marker_is_one_line(kind: str, content: str, fault: str, tmp_path: Path):
    results = str(tmp_path / "s") if kind == "folder" else f"file://{tmp_path}/s"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / MARKER).write_text(content)
    told = rf"can't read {results}/{MARKER}: {fault}.*; delete {results} or choose another --output"
    with pytest.raises(InputError, match=told), claim(results, {}, resume=True):
        pass


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_search_does_not_go_on_without_an_option_that_it_had(kind: str, tmp_path: Path):
    recipe = SearchArguments(config=Config()).recipe()
    results = str(tmp_path / "s") if kind == "folder" else f"file://{tmp_path}/s"
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / MARKER).write_text(json.dumps(recipe | {"augment.mixup": 0.3}))
    with (
        pytest.raises(InputError, match=r"begun with augment\.mixup = 0\.3, .*: choose another --output"),
        claim(results, json.loads(json.dumps(recipe)), resume=True),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": 0}, "--threads 0: at least 1"),
        ({"gpus_per_trial": -1.0}, r"--gpus-per-trial -1\.0: at least 0"),
        ({"gpus_per_trial": 1.5}, r"--gpus-per-trial 1\.5: a part of one GPU"),
        ({"processes_per_trial": 0}, "--processes-per-trial 0: at least 1"),
        ({"processes_per_trial": 2, "gpus_per_trial": 1.0}, "--processes-per-trial 2: for CPUs alone"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict[str, float], message: str):
    with pytest.raises(InputError, match=message):
        Options(**options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "/nowhere: no such folder"),
        (["--objective", "miou,latency"], "needs --architecture"),
        (["--gpus-per-trial", "1.5"], "a part of one GPU"),
        (["--trials", "0"], "--trials 0: at least 1"),
        (["--init", "gone.pt"], "gone.pt: no such file"),
        (["--address", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"),
        (["--output", "here"], "holds a search: go on with --resume"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    make_faces: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here/search.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tune.arguments.heed_sigterm", lambda: None)  # it is this process's own
    monkeypatch.setattr(sys, "argv", ["search", "--data", str(make_faces()), "--output", "runs", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_entry(search.main)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("ctrl_c", [signal.SIG_DFL, signal.SIG_IGN])  # a shell's background jobs ignore it
def test_sigterm_before_the_trials_is_one_line_as_ctrl_c_is(ctrl_c: signal.Handlers):
    code = "run_entry(lambda: os.kill(os.getpid(), signal.SIGTERM))"
    ended = subprocess.run(
        [sys.executable, "-c", f"import os, signal\nfrom tune.arguments import run_entry\n{code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
    )
    assert (ended.returncode, ended.stderr) == (75, "stopped: the same command with --resume goes on\n")


def test_weights_in_the_box_are_no_file(make_faces: Callable[..., Path]):
    config = Config.from_dict({"data": {"root": str(make_faces())}, "train": {"init": "drawn"}})
    assert settle(config).train.init == "drawn"


def test_one_search_in_a_folder(tmp_path: Path):
    code = f"from tune.arguments import claim\nwith claim({str(tmp_path / 's')!r}, {{}}, True): print('in')"
    command = [sys.executable, "-c", code]
    with claim(str(tmp_path / "s"), {}, resume=False):
        other = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert re.search(rf"InputError: .*process {os.getpid()} on .* trains into it", other.stderr)
    assert subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout == "in\n"


def test_the_recipe_may_stand_anywhere():
    def parsed(*words: str) -> SearchArguments:
        return parse(words, with_own_output, best, "search", "")

    assert parsed("--data", "x", "--trials", "3", "demo", "--size", "32").config.train.epochs == 1
    assert parsed("--architecture", "demo").config.train.epochs == 1
    arguments = parsed("--data", "demo", "--lr", "1e-3")
    assert (arguments.config.data.root, arguments.config.train.epochs) == ("demo", 300)
    assert (arguments.config.optim.lr, arguments.epochs) == (1e-3, 30)
