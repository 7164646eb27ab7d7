"""ONNX files without a runtime: what they say of themselves, who may run them; test_formats.py runs them."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from deploy_helpers import parse, write_faces

from deploy.predictor.errors import CannotStartError
from deploy.predictor.model import METADATA_FILE, read_metadata
from deploy.predictor.onnx_files import choose_runtime, labels_of, read_entry, settle_for_onnx
from lisa.face_parser import argmax_at

METADATA = {"format": 2, "size": 64, "labels": ["a"], "palette": [0, 0, 0], "flip_pairs": []}


def field(number: int, content: bytes) -> bytes:
    """A protobuf field that holds bytes."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def onnx(path: Path, metadata: object = METADATA) -> Path:
    """A file with ONNX's fields: a number, a large graph, another property, ours."""
    props = [
        field(14, field(1, key.encode()) + field(2, value.encode()))
        for key, value in (("author", "x"), (METADATA_FILE, json.dumps(metadata)))
    ]
    path.write_bytes(b"\x08\x0a" + field(7, b"g" * 300_000) + b"".join(props) + b"\x2d1234" + b"\x2912345678")
    return path


def test_metadata_is_read_without_a_runtime(tmp_path: Path):
    assert read_metadata(onnx(tmp_path / "lisa.onnx")) == METADATA
    assert read_entry(tmp_path / "lisa.onnx", "author") == b"x"
    assert read_entry(tmp_path / "lisa.onnx", "nobody") == b"null"


def test_files_that_are_no_models_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_faces(tmp_path / "in", 1)
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(onnx(tmp_path / "lisa.onnx").read_bytes()[:100_000])
    archive = tmp_path / "zip.onnx"
    archive.write_bytes(b"PK\x03\x04" + bytes(range(256)))
    empty = tmp_path / "empty.onnx"
    empty.touch()
    cases = {
        cut: "damaged, or no model file (cut short)",
        archive: "damaged, or no model file",
        empty: "not made by deploy.export",
        tmp_path / "missing.onnx": "No such file",
        onnx(tmp_path / "newer.onnx", {**METADATA, "format": 99}): "take a newer predict.pyz",
        onnx(tmp_path / "graph.onnx"): "can't load it",
    }
    for path, reason in cases.items():
        assert parse(path, tmp_path / "in", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1


def test_each_file_has_its_runtimes(monkeypatch: pytest.MonkeyPatch):
    script, file = Path("lisa.ts"), Path("LISA.ONNX")
    installed = ["openvino", "onnxruntime"]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    assert choose_runtime("auto", script) == choose_runtime("torch", script) == "torch"
    assert choose_runtime("auto", file) == "openvino"
    assert choose_runtime("onnxruntime", file) == "onnxruntime"
    installed.remove("openvino")
    assert choose_runtime("auto", file) == "onnxruntime"
    refusals = {("openvino", file): "pip install openvino", ("torch", file): "LISA.ONNX is ONNX"}
    refusals |= {(name, script): "needs an .onnx file" for name in ("openvino", "onnxruntime")}
    for (name, path), reason in refusals.items():
        with pytest.raises(CannotStartError, match=reason):
            choose_runtime(name, path)
    installed.clear()
    with pytest.raises(CannotStartError, match="needs openvino or onnxruntime: pip install openvino"):
        choose_runtime("auto", file)


def test_what_a_runtime_has_not_is_refused():
    assert settle_for_onnx("openvino", "auto", "bf16") == ("cpu", "bf16")
    assert settle_for_onnx("onnxruntime", "cpu", "auto") == ("cpu", "fp32")
    with pytest.raises(CannotStartError, match="ONNX Runtime has fp32 alone"):
        settle_for_onnx("onnxruntime", "cpu", "bf16")
    with pytest.raises(CannotStartError, match="run on the CPU here"):
        settle_for_onnx("openvino", "cuda:0", "fp32")


@pytest.mark.parametrize("size", [(16, 16), (37, 9), (5, 40)])
def test_labels_are_those_of_the_torchscript_file(size: tuple[int, int]):
    logits = torch.randn(2, 5, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(labels_of(logits, *size), argmax_at(logits, *size))
