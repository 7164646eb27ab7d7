"""The contract of every file that a network is exported to: the same labels at any size, one description."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from deploy_helpers import SIZE, write_checkpoint
from PIL import Image
from torch import Tensor

from deploy.formats import Onnx, Pt2
from deploy.gate import ExportedFormat, export_gated
from deploy.predictor.model import METADATA_FILE, read_metadata
from deploy.torchscript import TorchScript
from lisa.data.synthetic import draw_face
from lisa.errors import InputError
from lisa.face_parser import FaceParser
from lisa.labels import NAMES
from lisa.run.checkpoint import Trained, load_network

SHAPES = [(1, 3, SIZE, SIZE), (2, 3, SIZE, 50), (3, 3, 37, 301), (1, 3, 1, 1)]


def faces(shape: tuple[int, ...]) -> Tensor:
    """Ordinary pictures, uint8: the file's products stay within bounds that others would meet."""
    count, _, height, width = shape
    drawn = [Image.fromarray(draw_face(seed, SIZE)[0]).resize((width, height)) for seed in range(count)]
    return torch.stack([torch.from_numpy(np.array(picture)) for picture in drawn]).permute(0, 3, 1, 2)


TOLD: dict[Path, dict[str, Any]] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and the pictures for the gate, by which the bounds are measured too."""
    folder = tmp_path_factory.mktemp("exports")
    write_checkpoint(folder / "best.pt")
    (folder / "faces").mkdir()
    pictures = [picture for shape in SHAPES for picture in faces(shape).permute(0, 2, 3, 1)]
    for index, picture in enumerate(pictures):
        Image.fromarray(picture.contiguous().numpy()).save(folder / "faces" / f"{index}.png")
    return folder


class Mirrored(FaceParser):
    """Another network than the one in the file."""

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images.flip(3))


class ExportContract:
    """``kind`` writes and loads the file; ``read`` is the description that any reader of the format finds."""

    kind: type[ExportedFormat]

    def read(self, path: Path) -> dict[str, Any]:
        raise NotImplementedError

    def export(self, folder: Path) -> tuple[Path, dict[str, Any]]:
        """The file, made once for all tests, and what the caller was told of it."""
        path = folder / f"exported.{self.kind.__name__.lower()}"
        if path not in TOLD:
            TOLD[path] = export_gated(self.kind, folder / "best.pt", path, folder / "faces")
        return path, TOLD[path]

    @pytest.mark.parametrize("shape", SHAPES)
    def test_any_number_of_pictures_of_any_size_gets_the_trained_labels(
        self, folder: Path, shape: tuple[int, ...]
    ) -> None:
        images = faces(shape)
        with torch.no_grad():
            trained = FaceParser(load_network(folder / "best.pt").network, SIZE)
            logits, labels = trained.logits(images), trained(images)
        found, found_logits = self.kind.load(self.export(folder)[0])["fp32"](images)
        assert found.dtype == torch.uint8
        assert found.shape == labels.shape
        assert (found == labels).float().mean() > 0.9995
        assert (found_logits - logits).abs().max() < 1e-3 * logits.abs().max()

    def test_the_file_says_what_it_is_as_the_caller_is_told(self, folder: Path) -> None:
        path, told = self.export(folder)
        assert self.read(path) == json.loads(json.dumps(told))
        assert told["labels"] == list(NAMES)
        assert told["size"] == SIZE
        assert told["parity"]["fp32"]["pictures"] == 7
        assert told["parity"]["fp32"]["equal_labels"] >= 0.9999

    def test_another_network_is_not_written_and_leaves_nothing(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = self.export(folder)[0]
        monkeypatch.setattr(self.kind, "__init__", lambda *_: None)  # it was made once: minutes saved
        monkeypatch.setattr(self.kind, "write", lambda _, path, metadata: path.write_bytes(made.read_bytes()))
        monkeypatch.setattr(Trained, "parser", lambda trained: Mirrored.for_prediction(trained.network, SIZE))
        with pytest.raises(InputError, match=r"agree on .* is not written"):
            export_gated(self.kind, folder / "best.pt", tmp_path / "wrong", folder / "faces")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("export to TorchScript")
class TestTorchScript(ExportContract):
    kind = TorchScript

    def read(self, path: Path) -> dict[str, Any]:
        return read_metadata(path)


@pytest.mark.slow
@pytest.mark.xdist_group("export to Onnx")
class TestOnnx(ExportContract):
    kind = Onnx

    def read(self, path: Path) -> dict[str, Any]:
        metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
        return json.loads(metadata[METADATA_FILE])


@pytest.mark.slow
@pytest.mark.xdist_group("export to Pt2")
class TestPt2(ExportContract):
    kind = Pt2

    def read(self, path: Path) -> dict[str, Any]:
        inside = {METADATA_FILE: ""}
        with path.open("rb") as stream:
            torch.export.load(stream, extra_files=inside)
        return json.loads(inside[METADATA_FILE])
