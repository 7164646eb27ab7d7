"""The weights in the box: what the file holds, who reads it, and what a bad one says."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import timm.data
import torch
from deploy_helpers import face, write_checkpoint

import lisa
from lisa.config import Config
from lisa.errors import InputError
from lisa.face_parser import MEAN, STD
from lisa.labels.celebamask import CELEBAMASK
from lisa.models import NETWORKS
from lisa.run import checkpoint
from lisa.weights import DRAWN, DRAWN_FILE
from lisa.weights.__main__ import main
from lisa.weights.packed import mean_of, read_packed, write_packed

CARD = Path(__file__).parents[4] / "docs/model_card.md"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "best.pt", bound=8.0)


def test_packed_weights_parse_as_their_checkpoint_in_half_precision(trained: Path, tmp_path: Path):
    packed = tmp_path / "packed.safetensors"
    main((trained,), packed)
    assert packed.stat().st_size < 0.6 * trained.stat().st_size
    whole, half = checkpoint.load(trained), checkpoint.load(packed)
    assert Config.from_dict(half["config"]) == Config.from_dict(whole["config"])
    assert (half["labels"], half["metrics"]) == (whole["labels"], whole["metrics"])
    for name, value in whole["weights"].items():
        exact = value.dim() < 2
        assert half["weights"][name].dtype == value.dtype
        torch.testing.assert_close(
            half["weights"][name], value, rtol=0 if exact else 2**-11, atol=0 if exact else 2**-25
        )
    first, second = (lisa.load(path, "cpu")(face()).ids for path in (trained, packed))
    assert (first == second).mean() > 0.99


def test_several_are_packed_as_their_mean_without_figures(trained: Path, tmp_path: Path):
    other, packed = tmp_path / "other.pt", tmp_path / "packed.safetensors"
    content = checkpoint.load(trained)
    changed = {
        name: value + 2 if value.is_floating_point() else value for name, value in content["weights"].items()
    }
    checkpoint.write(checkpoint.pack({**content, "weights": changed}), other)
    main((trained, other), packed)
    mean = checkpoint.load(packed)
    torch.testing.assert_close(mean["weights"]["final.bias"], content["weights"]["final.bias"] + 1)
    assert mean["metrics"] == {}
    assert lisa.load(packed, "cpu")(face()).ids.shape == face().size


def test_a_packed_file_has_a_mean_with_the_runs_that_began_from_it(trained: Path, tmp_path: Path):
    packed, again = tmp_path / "packed.safetensors", tmp_path / "again.safetensors"
    main((trained,), packed)
    main((packed, trained), again)
    torch.testing.assert_close(
        checkpoint.load(again)["weights"]["final.bias"], checkpoint.load(trained)["weights"]["final.bias"]
    )


def test_no_mean_of_different_networks(trained: Path):
    one = checkpoint.load(trained)
    other = {**one, "labels": one["labels"][1:]}
    with pytest.raises(InputError, match="no mean of them"):
        mean_of([one, other])


def test_packing_again_gives_the_same_bytes(trained: Path, tmp_path: Path):
    for seconds, name in enumerate(("one", "two")):
        content = checkpoint.load(trained)
        content["metrics"]["timing"] = {"seconds": seconds}
        write_packed(content, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_box_is_small_free_of_paths_and_what_the_card_says():
    content = DRAWN_FILE.read_bytes()
    assert len(content) < 5e6
    assert hashlib.sha256(content).hexdigest() in CARD.read_text()
    packed = read_packed(DRAWN_FILE)
    assert tuple(packed["labels"]) == CELEBAMASK.names
    assert not re.search(r'"/', json.dumps({key: packed[key] for key in packed if key != "weights"}))
    assert packed["config"]["data"]["root"] == "data/drawn"
    assert "parts" in packed["arrangement"]  # it finds the faces in photographs itself
    begun_by, output = packed["config"]["train"]["init"], packed["config"]["output"]
    assert f"--init {begun_by} --output {output}\n" in CARD.read_text()  # the last step's command


def test_why_there_is_no_mean_is_said(trained: Path):
    one, other = (checkpoint.load(trained) for _ in range(2))
    other["config"] = {**other["config"], "model": {**other["config"]["model"], "bound": 4.0}}
    with pytest.raises(InputError, match=r"checkpoint 1 and the last have other model.bound: there is no"):
        mean_of([one, other])


def test_every_door_reads_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    picture = np.asarray(face())
    ids = lisa.load(device="cpu")(picture).ids
    assert np.array_equal(lisa.load(DRAWN, "cpu")(picture).ids, ids)
    network = timm.create_model("lisa", pretrained=True)
    weights = checkpoint.load_network(DRAWN).network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    told = timm.data.resolve_model_data_config(network)
    assert (told["input_size"], told["crop_mode"], told["crop_pct"]) == ((3, 128, 128), "squash", 1.0)
    assert (told["mean"], told["std"], told["interpolation"]) == (MEAN, STD, "bilinear")
    with pytest.raises(InputError, match=r"python -m deploy.export --checkpoint drawn --output"):
        lisa.load(device="cpu")(picture, faces="find")


def test_pretrained_with_other_classes_begins_the_classifier_afresh():
    own = timm.create_model("lisa", pretrained=True, num_classes=5).state_dict()
    weights = read_packed(DRAWN_FILE)["weights"]
    assert own["final.weight"].shape[0] == own["final.bias"].shape[0] == 5
    rest = [name for name in own if not name.startswith("final")]
    assert [name for name in rest if not torch.equal(own[name], weights[name])] == []
    with pytest.raises(InputError, match="by default"):
        timm.create_model("lisa", pretrained=True, hamburger_ratio=0.25)
    with pytest.raises(InputError, match="those of LISA as it is by default"):
        timm.create_model("lisa", pretrained=True, hamburger="nmf")
    with pytest.raises(InputError, match="lisa alone"):
        timm.create_model("unet", pretrained=True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"num_classes": 0}, "num_classes 0: without classes"),
        ({"in_chans": 1}, "takes no in_chans, it takes num_classes"),
        ({"features_only": True}, "takes no features_only"),
    ],
)
def test_what_timms_classifiers_take_is_one_line(name: str, argument: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        timm.create_model(name, **argument)


def test_a_weight_beyond_half_precision_is_named(trained: Path, tmp_path: Path):
    content = checkpoint.load(trained)
    content["weights"]["final.weight"][0, 0] = 7e4
    with pytest.raises(InputError, match=r"final\.weight: its largest weight is 7e\+04"):
        write_packed(content, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_damaged_and_foreign_files_are_one_line(tmp_path: Path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="No such file"):
        checkpoint.load(path)
    path.write_bytes(DRAWN_FILE.read_bytes()[:100_000])
    with pytest.raises(InputError, match="damaged or no safetensors file"):
        checkpoint.load(path)
    safetensors.torch.save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="no LISA weights"):
        checkpoint.load(path)
