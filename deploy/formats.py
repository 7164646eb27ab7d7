"""Ways on from TorchScript, which is deprecated upstream: ONNX and torch.export's .pt2, by the same gate.

Both take the same uint8 pictures as the TorchScript file, any number of any size, and give two outputs:
``labels`` (B,H,W) uint8 and ``logits`` (B,C,size,size) float32. Both compute in fp32.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from deploy.bounds import Bound
from deploy.gate import ExportedFormat, Runner
from deploy.predictor.machine import cpu_has_bf16
from deploy.predictor.model import METADATA_FILE
from deploy.predictor.onnx_files import OnnxRuntimeModel, OpenVinoModel, load_onnx
from deploy.rewrite import for_inference
from lisa.face_parser import FaceParser, argmax_resized
from lisa.run.checkpoint import Trained

Format = Literal["onnx", "pt2"]

SIDE = 65_535
"""Pictures up to this height and width, in pixels."""

BATCH = 4096
"""Pictures at once."""


class Traced(nn.Module):
    """FaceParser without its shortcuts for pictures of the network's own size: one graph for all sizes."""

    def __init__(self, parser: FaceParser) -> None:
        super().__init__()
        self.parser = parser

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) uint8 to (B,H,W) uint8 labels and (B,C,size,size) float32 logits."""
        size = [self.parser.size, self.parser.size]
        x = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
        logits = self.parser.network(self.parser.normalise(x)).float()
        return argmax_resized(logits, images.shape[2], images.shape[3]), logits


def trace(parser: FaceParser) -> ExportedProgram:
    """One graph for any number of pictures of any height and width."""
    dynamic = {0: Dim("batch", max=BATCH), 2: Dim("height", max=SIDE), 3: Dim("width", max=SIDE)}
    example = torch.zeros(2, 3, parser.size + 7, parser.size + 13, dtype=torch.uint8)
    return torch.export.export(Traced(parser), (example,), dynamic_shapes=(dynamic,))


def _program(trained: Trained, bounds: Sequence[Bound]) -> ExportedProgram:
    network = for_inference(trained.network, bounds)
    return trace(FaceParser.for_prediction(network, trained.config.data.size))


class Pt2(ExportedFormat):
    """torch.export's .pt2."""

    def __init__(self, trained: Trained, bounds: Sequence[Bound]) -> None:
        self.program = _program(trained, bounds)

    def write(self, path: Path, metadata: dict[str, Any]) -> None:
        """Raises OSError."""
        with path.open("wb") as stream:  # by its name torch would insist on .pt2
            extra = {METADATA_FILE: json.dumps(metadata, indent=1)}
            torch.export.save(self.program, stream, extra_files=extra)

    @staticmethod
    def load(path: Path) -> dict[str, Runner]:
        """The written file at work."""
        with path.open("rb") as stream:
            return {"fp32": torch.export.load(stream).module()}


class Onnx(ExportedFormat):
    """ONNX, run by ONNX Runtime and OpenVINO."""

    def __init__(self, trained: Trained, bounds: Sequence[Bound]) -> None:
        made = torch.onnx.export(
            _program(trained, bounds),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["labels", "logits"],
            dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),  # names only: the program has the ranges
        )
        assert made is not None
        self.made = made

    def write(self, path: Path, metadata: dict[str, Any]) -> None:
        """Raises OSError."""
        self.made.model.metadata_props[METADATA_FILE] = json.dumps(metadata, indent=1)
        self.made.save(path)

    @staticmethod
    def load(path: Path) -> dict[str, Runner]:
        """The written file in the predictor's runtimes, OpenVINO where it is installed."""
        runners = {"fp32": _runner(load_onnx(path, "onnxruntime", "fp32", 1))}
        if importlib.util.find_spec("openvino") is not None:
            for precision in ("fp32", "bf16") if cpu_has_bf16() else ("fp32",):
                runners[f"openvino {precision}"] = _runner(load_onnx(path, "openvino", precision, 1))
        return runners


def _runner(model: OnnxRuntimeModel | OpenVinoModel) -> Runner:
    return lambda images: (model(images), model.logits(images))


FORMATS: dict[Format, type[ExportedFormat]] = {"onnx": Onnx, "pt2": Pt2}
