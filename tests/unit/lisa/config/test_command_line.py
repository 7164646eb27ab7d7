"""The command line around a config: recipes, config files, short flags, in any place."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lisa.config import Config, best, demo, report
from lisa.config.command_line import parse_training
from lisa.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"optim": {"lr": 0.5}, "train": {"epochs": 7}}))
    return str(path)


def config(*words: str) -> Config:
    return parse_training(words).config


def test_recipe_short_flags_and_paths():
    words = [
        "report",
        "--data",
        "faces",
        "--output",
        "runs/x",
        "--lr",
        "1e-4",
        "--epochs=3",
        "--loss.dice",
        "2",
    ]
    parsed = parse_training([*words, "--size", "64", "--batch-size", "8", "--resume"])
    asked = parsed.config
    assert parsed.resume
    assert (asked.data.root, asked.output, asked.data.size) == ("faces", "runs/x", 64)
    assert (asked.optim.lr, asked.train.epochs, asked.train.batch_size) == (1e-4, 3, 8)
    assert (asked.loss.dice, asked.optim.name) == (2.0, "adam")


def test_every_short_flag_is_its_path():
    words = ("--data=a", "--size=32", "--init=b", "--epochs=2", "--batch-size=4", "--lr=0.1", "--auto-batch")
    asked = config(*words, "--checkpoint-every=epoch")
    assert (asked.data.root, asked.data.size, asked.optim.lr) == ("a", 32, 0.1)
    train = asked.train
    assert (train.init, train.epochs, train.batch_size, train.auto_batch) == ("b", 2, 4, True)
    assert train.checkpoint_every == "epoch"
    assert config() == best()


def test_the_recipe_may_stand_anywhere_but_in_a_flags_place():
    assert config("--data", "x", "report", "--size", "32").optim.name == "adam"
    for switch in ("--resume", "--auto-batch", "--train.no-auto-batch", "--train.auto_batch", "--lr=1e-3"):
        assert config(switch, "demo").output == demo().output
    assert config("--model.widths", "4", "6", "8", "10", "12", "demo").output == demo().output
    asked = config("--data", "demo")
    assert asked == dataclasses.replace(best(), data=dataclasses.replace(best().data, root="demo"))
    assert config("report", "--data", "demo").data.root == "demo"


def test_a_config_file_may_stand_anywhere_and_flags_override_it(file: str):
    for words in (
        ["--config", file, "--lr", "1"],
        ["--lr", "1", "--config", file],
        ["--lr=1", f"--config={file}"],
    ):
        asked = config(*words)
        assert (asked.optim.lr, asked.train.epochs) == (1, 7), words
    assert config("--resume", "--config", file).optim.lr == 0.5


def test_what_can_not_be_meant_is_refused(file: str, tmp_path: Path):
    for words, message in (
        (["--config", str(tmp_path / "no.json")], r"can't read --config .*no\.json: No such file"),
        (["--config", str(Path(__file__))], r"--config .*test_command_line\.py: config is not JSON"),
        (["--config"], "--config: which file"),
        (["--config="], "--config: which file"),
        (["--config", "--resume"], "--config: which file"),
        (["--config", file, "report"], r"c\.json, report: one config file or one recipe"),
        (["--config", file, "--lr", "1", "--config=b"], r"c\.json, b: one config file or one recipe"),
        (["bst"], "no recipe 'bst': one of report, best, demo, finder"),
    ):
        with pytest.raises(InputError, match=message):
            parse_training(words)
    with pytest.raises(SystemExit, match="2"):
        parse_training(["demo", "report"])


def test_the_help_is_the_recipes(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        parse_training(["report", "--help"])
    assert "default: 100)" in capsys.readouterr().out


def test_settings_and_their_command_line_import_no_torch():
    code = (
        "import sys; from lisa.config.command_line import parse_training; parse_training(['report']); "
        "print([name for name in ('torch', 'timm', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert report().train.epochs == 100
