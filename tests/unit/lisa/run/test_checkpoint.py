"""Checkpoints: atomic, weights-only, refused when they are not ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deploy.gate import metadata_of
from lisa.config import Config
from lisa.errors import InputError
from lisa.models import LISA
from lisa.run import checkpoint
from lisa.weights.packed import write_packed


def saved(path: Path) -> LISA:
    network = LISA()
    checkpoint.save(checkpoint.payload(network.state_dict(), Config(), {"miou": 0.5}), path)
    return network


def test_round_trip(tmp_path: Path):
    network = saved(tmp_path / "best.pt").eval()
    trained = checkpoint.load_network(tmp_path / "best.pt")
    assert trained.config == Config()
    assert trained.metrics == {"miou": 0.5}
    picture = torch.rand(1, 3, 32, 32)
    assert torch.equal(trained.network(picture), network(picture))


@pytest.mark.parametrize(
    ("before", "gone"),
    [
        ({"loss": {"focal": 1.0, "focal_gamma": 3.0}}, {"loss.focal": 1.0}),
        ({"loss": {"cross_entropy": 0.0, "dice": 0.0, "lovasz": 0.0, "focal": 1.0}}, {"loss.focal": 1.0}),
        (
            {"model": {"auxiliary": True}, "loss": {"auxiliary": 0.2}, "augment": {"mixup": 0.3}},
            {"model.auxiliary": True, "augment.mixup": 0.3},
        ),
        ({"augment": {"border": "background", "erase": 0.0}}, {"augment.border": "background"}),
        ({"augment": {"border": "ignore", "cutmix": 0.0}}, {}),
    ],
)
def test_networks_trained_with_removed_options_are_read(
    before: dict[str, dict[str, Any]], gone: dict[str, Any], tmp_path: Path
):
    """And packed: what trained them is told by every file."""
    content = checkpoint.payload(LISA().state_dict(), Config(), {})
    for section, fields in before.items():
        content["config"][section] |= fields
    checkpoint.save(content, tmp_path / "x.pt")
    write_packed(checkpoint.load(tmp_path / "x.pt"), tmp_path / "x.safetensors")
    for name in ("x.pt", "x.safetensors"):
        trained = checkpoint.load_network(tmp_path / name)
        assert trained.config == Config()
        assert trained.gone == gone
        assert metadata_of(trained).get("gone", {}) == gone


def test_a_failed_save_keeps_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    saved(tmp_path / "best.pt")
    before = (tmp_path / "best.pt").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path / "best.pt")
    assert (tmp_path / "best.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.pt: No such file"):
        checkpoint.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(InputError, match="damaged or no LISA checkpoint"):
        checkpoint.load(tmp_path / "text.pt")
    saved(tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:-5000])
    with pytest.raises(InputError, match="damaged or no LISA checkpoint"):
        checkpoint.load(tmp_path / "cut.pt")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(InputError, match="no LISA checkpoint"):
        checkpoint.load(tmp_path / "linear.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "pickle.pt")
    with pytest.raises(InputError, match="damaged or no LISA checkpoint"):
        checkpoint.load(tmp_path / "pickle.pt")


def test_weights_of_another_network_are_refused(tmp_path: Path):
    other = checkpoint.payload(nn.Linear(2, 2).state_dict(), Config(), {})
    checkpoint.save(other, tmp_path / "x.pt")
    with pytest.raises(InputError, match="weights of another network"):
        checkpoint.load_network(tmp_path / "x.pt")


@pytest.mark.parametrize(("key", "value"), [("format", 99), ("labels", ["cat"])])
def test_another_contract_is_refused(key: str, value: object, tmp_path: Path):
    other = checkpoint.payload(LISA().state_dict(), Config(), {}) | {key: value}
    checkpoint.save(other, tmp_path / "x.pt")
    with pytest.raises(InputError, match=r"format 99|its labels .* are not those of its config"):
        checkpoint.load(tmp_path / "x.pt")
