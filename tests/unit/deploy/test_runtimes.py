"""The predictor on OpenVINO and ONNX Runtime gives the maps of the TorchScript file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import SIZE, files, parse, read_ids, write_checkpoint, write_faces
from process_helpers import LONG
from torch import Tensor

from deploy.export import export, export_as
from deploy.formats import Pt2
from deploy.predictor.onnx_files import OpenVinoModel
from deploy.torchscript import TorchScript
from distributed.launch import ROOT
from lisa.data.synthetic import draw_face
from lisa.errors import InputError

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("runtimes")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """lisa.ts and lisa.onnx of a small folded network, and its faces."""
    folder = tmp_path_factory.mktemp("runtimes")
    write_faces(folder / "faces", 3, (150, 200))
    write_faces(folder / "faces" / "own", 1, (SIZE, SIZE))
    shape = {"widths": (16, 16, 24, 24, 32), "depths": (1, 1, 1, 1, 1)}
    checkpoint = write_checkpoint(folder / "best.pt", "lisa_fold4", **shape)
    export(checkpoint, folder / "lisa.ts", folder / "faces", finder="none")
    told = export_as("onnx", checkpoint, folder / "lisa.onnx", folder / "faces")
    assert told["parity"]["openvino fp32"]["equal_labels"] >= 0.9999
    return folder


@pytest.mark.parametrize("runtime", ["auto", "openvino", "onnxruntime"])
@pytest.mark.parametrize("options", [(), ("--tta", "flip", "--fit", "pad", "--workers", "2")])
def test_same_maps_in_every_runtime(
    folder: Path, tmp_path: Path, runtime: str, options: tuple[str, ...]
) -> None:
    """Of pictures larger than the network too: OpenVINO alone would resize them otherwise."""
    assert parse(folder / "lisa.ts", folder / "faces", tmp_path / "torch", *options) == 0
    options += ("--runtime", runtime, "--probabilities")
    assert parse(folder / "lisa.onnx", folder / "faces", tmp_path / "onnx", *options) == 0
    names = ["face0", "face1", "face2", "own/face0"]
    assert files(tmp_path / "torch") == [f"{name}.png" for name in names]
    for name in names:
        expected, found = (read_ids(tmp_path / kind / f"{name}.png") for kind in ("torch", "onnx"))
        assert (found == expected).mean() > 0.999
        with np.load(tmp_path / "onnx" / "probabilities" / f"{name}.npz") as stored:
            assert next(iter(stored.values())).shape == (19, SIZE, SIZE)


def test_precision_and_runtime_are_told(folder: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        output = tmp_path / precision
        assert parse(folder / "lisa.onnx", folder / "faces", output, "--precision", precision) == 0
        settings = json.loads((output / "report.json").read_text())["settings"]
        assert (settings["precision"], settings["runtime"]) == (precision, "openvino")
    expected, found = (read_ids(tmp_path / kind / "face0.png") for kind in ("fp32", "bf16"))
    assert (found == expected).mean() > 0.9


def test_a_runtime_that_gives_other_labels_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def darker(self: OpenVinoModel, images: Tensor) -> Tensor:
        return logits(self, (images.float() * 0.5).to(torch.uint8))

    logits = OpenVinoModel.logits
    monkeypatch.setattr(OpenVinoModel, "logits", darker)
    with pytest.raises(InputError, match=r"agree on .* is not written"):
        export_as("onnx", folder / "best.pt", folder / "wrong.onnx", folder / "faces")
    assert not list(folder.glob("*wrong*"))


def test_a_folded_network_as_pt2_gives_the_same_labels_at_any_size(folder: Path, tmp_path: Path) -> None:
    told = export_as("pt2", folder / "best.pt", tmp_path / "lisa.pt2", folder / "faces")
    assert told["parity"]["fp32"]["equal_labels"] >= 0.9999
    script, program = (
        kind.load(path)["fp32"]
        for kind, path in ((TorchScript, folder / "lisa.ts"), (Pt2, tmp_path / "lisa.pt2"))
    )
    for count, height, width in ((1, 1, 1), (2, 150, 200), (3, 37, 301)):
        images = torch.from_numpy(
            np.stack([draw_face(seed, 301)[0][:height, :width] for seed in range(count)])
        )
        images = images.permute(0, 3, 1, 2).contiguous()
        expected, found = script(images)[0], program(images)[0]
        assert found.shape == (count, height, width)
        assert (found == expected).float().mean() > 0.9995


NARROW = """
import sys
import numpy as np
import openvino
import openvino.opset13 as ops
from deploy.predictor.onnx_files import widen_strips

random = np.random.default_rng(0)
pictures = ops.parameter([-1, 8, 32, 32], np.float32)
weight = ops.constant(random.standard_normal((8, 1, 1, 1, 21)).astype(np.float32) / 5)
strip = ops.group_convolution(pictures, weight, [1, 1], [0, 10], [0, 10], [1, 1])
network = openvino.Model([ops.relu(strip)], [pictures])
x = random.standard_normal((2, 8, 32, 32)).astype(np.float32)

def run(precision):
    return openvino.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": precision})(x)[0]

exact = run("f32")
widen_strips(network)
print(np.abs(run("f32") - exact).max() < 1e-5, np.abs(run("bf16") - exact).max() < 0.05)
"""


def test_a_narrow_strip_in_bf16() -> None:
    """Without channels of zeros it never returns, on CPUs with AMX."""
    done = subprocess.run(
        [sys.executable, "-c", NARROW], cwd=ROOT, capture_output=True, text=True, timeout=LONG
    )
    assert done.stdout == "True True\n", done.stderr


SIGNALLED = """
import faulthandler, os, signal, sys, threading
from pathlib import Path
from deploy.predictor.onnx_files import OpenVinoModel

faulthandler.enable()  # OpenVINO replaces its signal stack
model = [OpenVinoModel(Path(sys.argv[1]), "fp32", 1)]
freed = threading.Thread(target=model.clear)
freed.start()
freed.join()
signal.signal(signal.SIGUSR1, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_after_a_model_was_freed_in_another_thread(folder: Path) -> None:
    """Segmentation fault on CPUs with AMX, if OpenVINO's core went with the model."""
    asked = [sys.executable, "-c", SIGNALLED, str(folder / "lisa.onnx")]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONG)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
