"""What the deploy room's tests share: a checkpoint of a calibrated random network, and pictures."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from deploy.predictor.command import main
from lisa.config import Config, DataConfig, ModelConfig
from lisa.data.synthetic import draw_face
from lisa.face_parser import FaceParser
from lisa.models import build
from lisa.run.checkpoint import payload, save

SIZE = 64

torch.set_num_threads(1)  # threads that share their cores with other work wait for each other


def calibrated_network(config: Config) -> nn.Module:
    """Seeded weights, with every vector (norms, biases, slopes) off its start and BatchNorm's statistics set.

    A fresh network would hide a fault in folding: its biases are 0, its statistics 0 and 1, its slopes equal.
    """
    torch.manual_seed(0)
    network = build(config.model)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        faces = [torch.from_numpy(draw_face(seed, config.data.size)[0].copy()) for seed in range(8)]
        parser = FaceParser(network.train(), config.data.size)
        for _ in range(3):
            parser.logits(torch.stack(faces).permute(0, 3, 1, 2))
    return network.eval()


def write_checkpoint(path: Path, name: str = "lisa", **shape: Any) -> Path:
    """A checkpoint of that network, for pictures of SIZE."""
    config = Config(
        data=DataConfig(root=str(path.parent / "no-data"), size=SIZE), model=ModelConfig(name=name, **shape)
    )
    save(payload(calibrated_network(config).state_dict(), config, {"miou": 0.5}), path)
    return path


def write_faces(folder: Path, count: int, size: tuple[int, int] = (48, 64)) -> list[Path]:
    """Synthetic faces as JPEGs, stretched to ``size`` (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"face{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(draw_face(index, 64)[0]).resize(size).save(path, quality=95)
    return paths


def with_metadata(model: Path, path: Path, metadata: dict[str, Any] | None) -> Path:
    """The model with other metadata, or none."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            if not name.endswith("lisa.json"):
                target.writestr(name, source.read(name))
            elif metadata is not None:
                target.writestr(name, json.dumps(metadata))
    return path


def read_ids(path: Path) -> np.ndarray:
    """The ids in a palette PNG."""
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.asarray(image)


def face(size: int = 64) -> Image.Image:
    """A synthetic face."""
    return Image.fromarray(draw_face(0, size)[0])


def parse(model: Path, source: Path, output: Path, *options: str) -> int:
    return main(
        ["--model", str(model), "--input", str(source), "--output", str(output), "--device", "cpu", *options]
    )


def files(folder: Path) -> list[str]:
    """All but the two notes that every run leaves."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert ".predict.json" in found
    assert "report.json" in found
    return [name for name in found if name not in (".predict.json", "report.json")]
