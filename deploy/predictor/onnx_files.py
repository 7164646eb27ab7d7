"""ONNX files: their metadata, and the two runtimes that compute them on the CPU."""

import functools
import importlib.util
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import CannotStartError, first_line
from .machine import cores

RUNTIMES = ("openvino", "onnxruntime")
"""Those that run ONNX files here, the faster one first."""

METADATA_FIELD = 14
"""``metadata_props`` in ONNX's ModelProto; an entry of it has a key, field 1, and a value, field 2."""


def is_onnx(path: Path) -> bool:
    """Whether the model file is ONNX, by its name."""
    return path.suffix.lower() == ".onnx"


def choose_runtime(name: str, path: Path) -> str:
    """auto: torch for TorchScript; for ONNX the first of RUNTIMES that is installed.

    Raises CannotStartError where the file needs another runtime, or one that is not installed.
    """
    if not is_onnx(path):
        if name in RUNTIMES:
            raise CannotStartError(f"--runtime {name}: needs an .onnx file (deploy.export --also onnx)")
        return "torch"
    if name == "torch":
        raise CannotStartError(f"--runtime torch: {path} is ONNX: take openvino or onnxruntime")
    wanted = RUNTIMES if name == "auto" else (name,)
    for runtime in wanted:
        if importlib.util.find_spec(runtime) is not None:
            return runtime
    raise CannotStartError(f"{path}: needs {' or '.join(wanted)}: pip install {wanted[0]}")


def settle_for_onnx(runtime: str, device: str, precision: str) -> tuple[str, str]:
    """--device and --precision for ONNX files. Raises CannotStartError for what their runtimes haven't."""
    if device not in ("auto", "cpu"):
        raise CannotStartError(f"--device {device}: .onnx files run on the CPU here: take the .ts file")
    if runtime != "onnxruntime":
        return "cpu", precision
    if precision == "bf16":
        raise CannotStartError("--precision bf16: ONNX Runtime has fp32 alone on CPUs: --runtime openvino")
    return "cpu", "fp32"


def read_entry(path: Path, key: str) -> bytes:
    """An entry of an ONNX file's metadata, or b"null". Nothing of the file is run.

    Raises:
        OSError: it can't be read.
        ValueError: it is damaged.
    """
    with path.open("rb") as file:
        for content in _fields(file, (METADATA_FIELD,)):
            entry = list(_fields(io.BytesIO(content), (1, 2)))
            if len(entry) == 2 and entry[0] == key.encode():
                return entry[1]
    return b"null"


def _fields(file: IO[bytes], wanted: tuple[int, ...]) -> Iterator[bytes]:
    """The contents of these fields of a protobuf message: each field is a tag, then a number or bytes."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    while file.tell() < size:
        tag = _number(file)
        kind = tag & 7
        if kind == 0:
            _number(file)
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"no protobuf message (field type {kind})")
        length = _number(file) if kind == 2 else {1: 8, 5: 4}[kind]
        if file.tell() + length > size:
            raise ValueError("cut short")
        if kind == 2 and tag >> 3 in wanted:
            yield file.read(length)
        else:
            file.seek(length, io.SEEK_CUR)


def _number(file: IO[bytes]) -> int:
    """A protobuf varint: seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("cut short")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("no protobuf message (a number of more than 64 bits)")


def labels_of(logits: Tensor, height: int, width: int) -> Tensor:
    """(B,C,h,w) logits to (B,height,width) uint8 ids, as the TorchScript file computes them."""
    if logits.shape[2:] == (height, width):
        return logits.max(1)[1].to(torch.uint8)  # argmax takes four times as long here
    size = [height, width]
    best = F.interpolate(logits[:, :1], size=size, mode="bilinear")
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for index in range(1, logits.shape[1]):  # one plane of the large size at a time
        plane = F.interpolate(logits[:, index : index + 1], size=size, mode="bilinear")
        labels.masked_fill_(plane > best, index)
        best = torch.maximum(best, plane)
    return labels[:, 0]


class OnnxRuntimeModel:
    """An ONNX file in ONNX Runtime, with the methods of the TorchScript file."""

    def __init__(self, path: Path, streams: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, cores() // streams)
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to (B,H,W) uint8."""
        return self._run(images)[0]

    def logits(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to float32 logits (B,C,size,size)."""
        return self._run(images)[1]

    def labels(self, logits: Tensor, height: int, width: int) -> Tensor:
        """(B,C,h,w) logits to (B,height,width) uint8 ids."""
        return labels_of(logits, height, width)

    def _run(self, images: Tensor) -> list[Tensor]:
        pictures = images.contiguous().numpy()
        try:
            return [torch.from_numpy(x) for x in self.session.run(["labels", "logits"], {"images": pictures})]
        except Exception as error:  # onnxruntime's own classes, which a stream does not know
            raise RuntimeError(str(error)) from None


_FIRST = threading.Lock()
"""Held over a thread's first inference.

Two that are the first in a process wait for one another for ever: the binding fills its tables with the
interpreter's lock in hand, gives it away amid that, and the other one takes it (OpenVINO 2026.4).
"""


@functools.cache
def _openvino() -> Any:
    """OpenVINO's core, kept until the process ends.

    On CPUs with AMX its CPU plugin gives the thread that loads it a signal stack, and unmaps that stack with
    the last model, in whatever thread that ends (2026.4). The next signal, Ctrl-C too, would then end the
    process with a segmentation fault.
    """
    import openvino

    return openvino.Core()


def widen_strips(network: Any) -> None:
    """Gives depthwise convolutions channels of zeros where their bf16 kernel would never return.

    oneDNN's does not for at most 16 channels and rows of 15 columns or more (OpenVINO 2026.4, CPUs with AMX).
    """
    import numpy as np
    import openvino.opset13 as ops

    how = ("strides", "pads_begin", "pads_end", "dilations")
    strips = [op for op in network.get_ops() if op.get_type_name() == "GroupConvolution"]
    for strip in strips:
        channels, *rest = strip.input(1).get_shape()
        missing = 17 - channels
        if missing < 1 or rest[-1] < 15:
            continue
        zeros = np.zeros([missing, *rest], np.float32)
        wide = ops.group_convolution(
            ops.pad(strip.input_value(0), [0, 0, 0, 0], [0, missing, 0, 0], "constant"),
            ops.concat([strip.input_value(1), ops.constant(zeros)], 0),
            *(strip.get_attributes()[name] for name in how),
        )
        targets = strip.output(0).get_target_inputs()
        narrow = ops.slice(wide, [0], [channels], [1], [1])
        for target in targets:
            target.replace_source_output(narrow.output(0))


class OpenVinoModel:
    """An ONNX file in OpenVINO, with the methods of the TorchScript file.

    OpenVINO ignores that the file's first resizing is antialiased (2026.4), and takes long over the labels at
    the picture's size: torch does both, and OpenVINO what lies between.
    """

    def __init__(self, path: Path, precision: str, streams: int) -> None:
        import openvino

        core = _openvino()
        whole = core.read_model(path.read_bytes())
        resizing = next(op for op in whole.get_ops() if op.get_attributes().get("antialias"))
        self.size: int = whole.output("logits").partial_shape[2].get_length()
        pictures = openvino.op.Parameter(
            openvino.Type.f32, openvino.PartialShape([-1, 3, self.size, self.size])
        )
        for target in resizing.output(0).get_target_inputs():
            target.replace_source_output(pictures.output(0))
        make: Any = openvino.Model  # its type stubs contradict themselves
        network = make([whole.output("logits").node], [pictures])
        if precision == "bf16":
            widen_strips(network)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": cores(),
        }
        self.compiled = core.compile_model(network, "CPU", options)
        self.own = threading.local()

    def __call__(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to (B,H,W) uint8."""
        return self.labels(self.logits(images), images.shape[2], images.shape[3])

    def logits(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 to float32 logits (B,C,size,size)."""
        size = [self.size, self.size]
        x = images.float()
        if list(x.shape[2:]) != size:
            x = F.interpolate(x, size=size, mode="bilinear", antialias=True)
        pictures = {0: x.contiguous().numpy()}
        if not hasattr(self.own, "request"):
            with _FIRST:
                self.own.request = self.compiled.create_infer_request()
                return torch.from_numpy(self.own.request.infer(pictures)[0])
        return torch.from_numpy(self.own.request.infer(pictures)[0])

    def labels(self, logits: Tensor, height: int, width: int) -> Tensor:
        """(B,C,h,w) logits to (B,height,width) uint8 ids."""
        return labels_of(logits, height, width)


def load_onnx(path: Path, runtime: str, precision: str, streams: int) -> OnnxRuntimeModel | OpenVinoModel:
    """The file in this runtime, for so many threads that call it side by side. Raises CannotStartError."""
    try:
        if runtime == "openvino":
            return OpenVinoModel(path, precision, streams)
        return OnnxRuntimeModel(path, streams)
    except Exception as error:  # both runtimes have exception classes of their own
        raise CannotStartError(f"{path}: {runtime} can't load it ({first_line(error)})") from None
