"""The exports beside TorchScript, run by their own runtimes."""

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from deploy_helpers import SIZE, write_checkpoint, write_faces
from torch import Tensor

import deploy.formats
from deploy.export import export_as, main
from deploy.formats import FORMATS, Format
from lisa.errors import InputError
from lisa.face_parser import FaceParser
from lisa.labels import NAMES
from lisa.run.checkpoint import load_network

SHAPES = [(1, 3, SIZE, SIZE), (2, 3, SIZE, 50), (3, 3, 37, 501), (1, 3, 1, 1)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """best.pt and what one export made of it."""
    folder = tmp_path_factory.mktemp("formats")
    write_faces(folder / "faces", 2)
    arguments = ["--checkpoint", str(write_checkpoint(folder / "best.pt")), "--images", str(folder / "faces")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sys.argv",
            ["export", *arguments, "--output", str(folder / "lisa.ts"), "--also", "onnx", "pt2"],
        )
        main()
    return folder


@pytest.mark.parametrize("kind", list(FORMATS))
def test_any_number_of_pictures_of_any_size(folder: Path, kind: Format) -> None:
    trained = FaceParser(load_network(folder / "best.pt").network, SIZE)
    run = FORMATS[kind].load(folder / f"lisa.{kind}")["fp32"]
    for shape in SHAPES:
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        labels, logits = run(images)
        with torch.no_grad():
            expected = trained.logits(images)
            assert (labels == trained(images)).float().mean() > 0.9995, shape
        assert labels.dtype == torch.uint8
        assert (logits - expected).abs().max() < 1e-3 * expected.abs().max(), shape


def test_files_say_what_they_are(folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "lisa.onnx")
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    onnx = json.loads(session.get_modelmeta().custom_metadata_map["lisa.json"])
    inside = {"lisa.json": ""}
    torch.export.load(folder / "lisa.pt2", extra_files=inside)
    for metadata in (onnx, json.loads(inside["lisa.json"])):
        assert metadata["labels"] == list(NAMES)
        assert metadata["size"] == SIZE
        assert metadata["parity"]["fp32"]["equal_labels"] >= 0.9999
        assert metadata["parity"]["fp32"]["pictures"] == 2
    assert sorted(path.suffix for path in folder.glob("*lisa.*")) == [".onnx", ".pt2", ".ts"]


def test_different_network_is_not_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mirrored(self: FaceParser, images: Tensor) -> Tensor:
        return (images.flip(3).float() - self.mean) / self.std

    trace = deploy.formats.trace

    def trace_mirrored(parser: FaceParser) -> torch.export.ExportedProgram:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FaceParser, "normalise", mirrored)
            return trace(parser)

    monkeypatch.setattr(deploy.formats, "trace", trace_mirrored)
    with pytest.raises(InputError, match=r"agree on .* is not written"):
        export_as("pt2", folder / "best.pt", folder / "wrong.pt2", folder / "faces")
    assert not list(folder.glob("*wrong*"))


def test_two_files_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "lisa.onnx")
    monkeypatch.setattr(
        "sys.argv", ["export", "--checkpoint", "best.pt", "--output", output, "--also", "onnx"]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "choose another suffix" in capsys.readouterr().err
