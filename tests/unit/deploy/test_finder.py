"""What an exported file knows of finding faces: a second network in half precision, or why there is none."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deploy_helpers import SIZE, write_checkpoint
from scene_helpers import METADATA

from deploy.finder import AUTO, choose_finder
from deploy.gate import metadata_of
from deploy.predictor.errors import CannotStartError
from deploy.predictor.finding import open_finder, reason_against
from deploy.predictor.machine import cpu_has_bf16
from deploy.predictor.model import ExportedModel
from deploy.torchscript import TorchScript
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.run.checkpoint import Trained, load_network

NARROW: dict[str, Any] = {"widths": (4, 4, 6, 6, 8), "depths": (1, 1, 1, 1, 1)}
CPU = torch.device("cpu")
PICTURES = [torch.zeros(1, 3, 50, 50, dtype=torch.uint8)] * 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("finder") / "best.pt", **NARROW)


@pytest.fixture(scope="module")
def trained(checkpoint: Path) -> Trained:
    return load_network(checkpoint)


NO_BF16 = pytest.mark.skipif(not cpu_has_bf16(), reason="oneDNN refuses bf16 on this CPU")


@pytest.mark.parametrize(
    ("precision", "least", "most"), [("fp32", 0, 0.02), pytest.param("bf16", 0.001, 0.1, marks=NO_BF16)]
)
def test_the_second_network_travels_in_the_file(
    precision: str, least: float, most: float, trained: Trained, tmp_path: Path
):
    file = TorchScript(trained, ())
    file.add_finder(trained)
    faces = {**METADATA, "size": SIZE, "window": 43, "own": False}
    file.write(tmp_path / "lisa.ts", {**metadata_of(trained), "faces": faces})
    model = ExportedModel(tmp_path / "lisa.ts", CPU, precision)
    finder = open_finder(model, tmp_path / "lisa.ts")
    assert finder is not None
    assert (finder.size, finder.window) == (SIZE, 43)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    parser = trained.parser()
    with torch.inference_mode():
        expected = parser.network(parser.normalise(images))
        found = finder.network(images)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape == (2, 19, 64, 96)
    assert least < (found - expected).abs().max() / expected.abs().max() < most, "weights are in float16"


def test_a_small_network_is_its_own_finder(trained: Trained, tmp_path: Path):
    file = TorchScript(trained, ())
    file.add_finder(None)
    faces = {**METADATA, "size": SIZE, "window": 43, "own": True}
    file.write(tmp_path / "lisa.ts", {**metadata_of(trained), "faces": faces})
    finder = open_finder(ExportedModel(tmp_path / "lisa.ts", CPU, "fp32"), tmp_path / "lisa.ts")
    assert finder is not None
    parser, images = trained.parser(), torch.rand(1, 3, 32, 64) * 255
    with torch.inference_mode():
        assert torch.allclose(finder.network(images), parser.network(parser.normalise(images)), atol=1e-4)


def test_a_second_network_that_cannot_search_is_refused_as_the_file_is_opened(
    trained: Trained, tmp_path: Path
):
    """Another program's network: it labels pictures, and has no ``dense``."""
    file, content = TorchScript(trained, ()), io.BytesIO()
    torch.jit.save(torch.jit.script(trained.parser()), content)
    file.finder = content.getvalue()
    faces = {**METADATA, "size": SIZE, "window": 43, "own": False}
    file.write(tmp_path / "lisa.ts", {**metadata_of(trained), "faces": faces})
    model = ExportedModel(tmp_path / "lisa.ts", CPU, "fp32")
    with pytest.raises(CannotStartError, match=r"lisa\.ts: its finder can't be loaded \(.*'dense'"):
        open_finder(model, tmp_path / "lisa.ts")


def sized(trained: Trained, size: int) -> Trained:
    config = replace(trained.config, data=replace(trained.config.data, size=size))
    return trained._replace(config=config)


OWN_REASONS = [
    (512, None, "it was trained at 512 pixels, and searching takes 128 or fewer"),
    (SIZE, None, "its checkpoint is from before they said where the parts of a face lie"),
    (SIZE, {"reason": "too few"}, "too few"),
    (SIZE, METADATA, "0 of 4 aligned faces are recognised, or they are framed in another way"),
]


@pytest.mark.parametrize(("size", "arrangement", "reason"), OWN_REASONS)
def test_why_a_file_finds_no_faces(trained: Trained, size: int, arrangement: Any, reason: str):
    network = sized(trained, size)._replace(arrangement=arrangement)
    content, finder = choose_finder(network, AUTO, PICTURES)
    assert finder is None
    none = "0 of 4 aligned faces are recognised, or they are framed in another way"
    boxed = f"the weights in the box can't either: {none}"
    assert content["reason"].startswith(f"{reason}; {boxed}; deploy.export --finder best.pt")
    assert reason_against({"faces": content}) == content["reason"]


FACES = [torch.from_numpy(draw_face(seed, 96)[0].copy()).permute(2, 0, 1)[None] for seed in range(4)]


def test_the_weights_in_the_box_find_faces_for_every_network(trained: Trained):
    for size, arrangement, _ in OWN_REASONS:
        content, finder = choose_finder(sized(trained, size)._replace(arrangement=arrangement), AUTO, FACES)
        assert (content["own"], content["size"]) == (False, 128)
        assert finder is not None
        assert finder.arrangement is not None
        assert content["parts"] == finder.arrangement["parts"]
        assert "parser" not in content, "it has learnt nothing, and would reject every face"


@pytest.mark.parametrize("side", [(96, 128), (160, 160)])
def test_pictures_that_are_framed_in_another_way_are_left_as_they_are(
    trained: Trained, side: tuple[int, int]
):
    """Oblong crops, and loose ones: the finder would cut other frames than this network was trained on."""
    height, width = side
    margins = [(width - 96) // 2, (width - 96) // 2, (height - 96) // 2, (height - 96) // 2]
    loose = [torch.nn.functional.pad(face, margins, value=90) for face in FACES]
    content, finder = choose_finder(sized(trained, 512), AUTO, loose)
    assert finder is None
    assert "or they are framed in another way" in content["reason"]


def test_a_small_network_is_its_own_finder_if_it_has_seen_wide_geometry():
    boxed = load_network(Path("drawn"))
    assert boxed.config.augment.wide > 0
    assert choose_finder(boxed, AUTO, FACES)[0]["own"]
    narrow = replace(boxed.config, augment=replace(boxed.config.augment, wide=0.0))
    content, finder = choose_finder(boxed._replace(config=narrow), AUTO, FACES)
    assert not content["own"]
    assert finder is not None
    assert finder.config.augment.wide > 0
    assert content["parser"] == boxed.arrangement, "it may judge what the finder finds"


def test_no_finder_on_request(trained: Trained):
    content, finder = choose_finder(trained, "none", FACES)
    assert finder is None
    assert content == {"reason": "it was exported with --finder none"}


def test_a_finder_that_can_find_nothing_is_refused(trained: Trained, checkpoint: Path):
    with pytest.raises(InputError, match=r"--finder .*best\.pt: its checkpoint is from before"):
        choose_finder(trained, str(checkpoint), PICTURES)
