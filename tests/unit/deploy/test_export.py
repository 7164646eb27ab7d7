from pathlib import Path
from typing import Any

import pytest
import torch
from deploy_helpers import SIZE, write_checkpoint, write_faces
from published_helpers import write_published

import deploy.bundle
import lisa
from deploy.export import export, main
from deploy.gate import gate_pictures, require_equal
from deploy.predictor.model import ExportedModel, read_metadata
from lisa.config import Config
from lisa.config.parameter_count import count_lisa
from lisa.errors import InputError
from lisa.labels import NAMES, PALETTE
from lisa.models.registry import NETWORKS
from lisa.run.checkpoint import PUBLISHED, load, load_network, save

pytestmark = pytest.mark.xdist_group("an exported network")  # one process makes it


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "best.pt")


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> Path:
    path = checkpoint.with_name("lisa.ts")
    export(checkpoint, path, finder="none")
    return path


def test_predictors_way_of_running_it_gives_the_same(exported: Path) -> None:
    images = torch.cat(gate_pictures(None, Path("nowhere")))
    parser = ExportedModel(exported, torch.device("cpu"), "fp32")
    with torch.no_grad():
        plain = torch.jit.load(exported)(images)
    labels = torch.from_numpy(parser(images.permute(0, 2, 3, 1).contiguous().numpy()).labels)
    assert (labels == plain).float().mean() > 0.9995
    assert torch.equal(parser.engine.labels(parser.engine.logits(images), 256, 256), labels)


def test_file_says_what_it_is(checkpoint: Path, exported: Path) -> None:
    metadata = read_metadata(exported)
    assert metadata["labels"] == list(NAMES)
    assert metadata["palette"] == list(PALETTE)
    assert metadata["flip_pairs"] == [[4, 5], [6, 7], [8, 9]]
    assert metadata["one_sided"] == []
    assert metadata["size"] == SIZE
    assert metadata["parameters"] == 1_999_551
    assert Config.from_dict(metadata["config"]) == load_network(checkpoint).config
    assert metadata["metrics"] == {"miou": 0.5}
    assert metadata["bounds"]["by"] == "drawn faces"
    assert metadata["versions"]["torch"] == torch.__version__
    assert metadata["parity"]["fp32"]["equal_labels"] >= 0.9999
    assert metadata["parity"]["fp32"]["pictures"] == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "lisa"])
def test_every_network_passes_the_gate(tmp_path: Path, name: str) -> None:
    write_faces(tmp_path / "faces", 2)
    metadata = export(write_checkpoint(tmp_path / "best.pt", name), tmp_path / "lisa.ts", tmp_path / "faces")
    assert metadata["config"]["model"]["name"] == name


def test_logits_that_are_no_numbers_do_not_pass(checkpoint: Path, tmp_path: Path) -> None:
    """They are equal in both, and so are their labels."""
    content = load(checkpoint)
    content["weights"]["final.weight"].fill_(torch.nan)
    save(content, tmp_path / "broken.pt")
    with pytest.raises(InputError, match=r"broken\.pt: its logits are not finite: .* is not written"):
        export(tmp_path / "broken.pt", tmp_path / "lisa.ts", finder="none")
    assert not (tmp_path / "lisa.ts").exists()


def test_one_label_of_ten_thousand_may_differ() -> None:
    def asked(equal: float) -> None:
        parity = {"fp32": {"largest_logit_difference": 0.1, "equal_labels": equal}}
        require_equal(parity, Path("best.pt"), Path("lisa.ts"))

    asked(0.9999)
    with pytest.raises(InputError, match=r"on 99\.9890 % of the labels, 99\.99 % are required"):
        asked(0.99989)


@pytest.mark.slow
def test_another_shape_passes_the_gate(tmp_path: Path) -> None:
    widths, depths = (12, 21, 33, 50, 71), (2, 1, 3, 1, 2)  # of 12, whose strips hang in bf16
    write_faces(tmp_path / "faces", 2)
    checkpoint = write_checkpoint(tmp_path / "best.pt", widths=widths, depths=depths, hamburger_ratio=0.3)
    metadata = export(checkpoint, tmp_path / "lisa.ts", tmp_path / "faces", finder="none")
    assert metadata["config"]["model"]["depths"] == depths
    assert metadata["parameters"] == count_lisa(widths, depths, 0.3)


@pytest.mark.slow
def test_published_file_is_exported_as_the_authors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.gate.BOUNDING_PICTURES", 1)  # of 512x512 each
    path = write_published(tmp_path / "best_model.pth")
    write_faces(tmp_path / "faces", 1)
    options = ["--checkpoint", str(path), "--output", str(tmp_path / "lisa.ts")]
    monkeypatch.setattr("sys.argv", ["export", *options, "--images", str(tmp_path / "faces")])
    main()
    assert f"{path}: {PUBLISHED}" in capsys.readouterr().out.splitlines()
    metadata = read_metadata(tmp_path / "lisa.ts")
    assert metadata["origin"] == PUBLISHED
    assert metadata["labels"] == list(NAMES)
    assert metadata["size"] == 512
    assert metadata["metrics"] == {}
    assert lisa.load(tmp_path / "lisa.ts").origin == PUBLISHED


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('nothing works')", "fails: nothing works: it is not written"),
        (  # gives other ids
            "import runpy, sys; sys.argv += ['--labels', 'face-parsing.pytorch']; "
            "runpy.run_module('predictor', run_name='__main__')",
            "of its labels: it is not written",
        ),
    ],
)
def test_file_that_does_not_work_as_a_program_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    write_faces(tmp_path / "faces", 1)
    monkeypatch.setattr(deploy.bundle, "MAIN", program)
    with pytest.raises(InputError, match=reason):
        export(checkpoint, tmp_path / "lisa.ts", tmp_path / "faces", finder="none")
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_of_given_pictures_the_readable_go_through_the_gate(tmp_path: Path) -> None:
    write_faces(tmp_path / "faces", 3)
    (tmp_path / "faces" / "broken.jpg").write_bytes(b"no jpeg")
    assert len(gate_pictures(tmp_path / "faces", Path("nowhere"))) == 3


def test_runs_own_pictures_are_the_default(tmp_path: Path) -> None:
    write_faces(tmp_path / "val" / "images", 2)
    (tmp_path / "val" / "masks").mkdir()
    assert [picture.shape for picture in gate_pictures(None, tmp_path)] == [(1, 3, 64, 48)] * 2


@pytest.mark.parametrize("content", ["empty", "missing"])
def test_folder_without_pictures_is_refused(checkpoint: Path, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "faces"
    if content == "empty":
        folder.mkdir()
    with pytest.raises(InputError, match="--images"):
        export(checkpoint, tmp_path / "lisa.ts", folder)


def command(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, output: Path) -> int:
    monkeypatch.setattr("sys.argv", ["export", "--checkpoint", str(checkpoint), "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_damaged_checkpoint_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "best.pt").write_bytes(b"nothing")
    assert command(monkeypatch, tmp_path / "best.pt", tmp_path / "lisa.ts") == 2
    assert "best.pt" in capsys.readouterr().err
    assert not (tmp_path / "lisa.ts").exists()


def test_checkpoint_of_another_network_is_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = load(checkpoint)
    other["weights"]["final.weight"] = torch.zeros(5, 32, 1, 1)
    save(other, tmp_path / "best.pt")
    assert command(monkeypatch, tmp_path / "best.pt", tmp_path / "lisa.ts") == 2
    error = capsys.readouterr().err
    assert "another network" in error
    assert error.count("\n") == 1


def test_output_that_is_a_folder_or_lies_under_a_file(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert command(monkeypatch, checkpoint, tmp_path / "file" / "lisa.ts") == 2
    assert command(monkeypatch, checkpoint, tmp_path / "folder") == 2
    assert capsys.readouterr().err.count("can't be written") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.slow
def test_other_formats_lie_beside_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(kind: str, checkpoint: Path, output: Path, images: Path | None) -> dict[str, Any]:
        output.write_text(kind)
        return {"parity": {}}

    monkeypatch.setattr("deploy.export.export_as", write)
    options = ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "lisa.ts")]
    monkeypatch.setattr("sys.argv", ["export", *options, "--also", "onnx", "pt2"])
    main()
    assert (tmp_path / "lisa.onnx").read_text() == "onnx"
    assert (tmp_path / "lisa.pt2").read_text() == "pt2"
    assert read_metadata(tmp_path / "lisa.ts")["size"] == SIZE
    said = capsys.readouterr().out
    assert said.count("wrote ") == 3
    assert "training pictures are not here: drawn faces say how large" in said


@pytest.mark.parametrize("word", ["drawn", "auto", "none"])
def test_a_word_of_another_option_is_no_output(word: str) -> None:
    with pytest.raises(InputError, match=f"--output {word}: is a word of --checkpoint or --finder"):
        export(Path("drawn"), Path(word))


def test_neither_a_checkpoint_nor_a_folder_is_written_over(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()
    with pytest.raises(InputError, match="is the checkpoint, whose weights would be lost"):
        export(checkpoint, checkpoint.parent / "." / checkpoint.name)
    with pytest.raises(InputError, match="is the finder's checkpoint, whose weights would be lost"):
        export(Path("drawn"), checkpoint, finder=str(checkpoint))
    monkeypatch.setattr("lisa.weights.DRAWN_FILE", checkpoint)
    with pytest.raises(InputError, match="is the checkpoint, whose weights would be lost"):
        export(Path("drawn"), checkpoint)
    assert checkpoint.read_bytes() == before
    with pytest.raises(InputError, match="it is a folder"):
        export(checkpoint, tmp_path)


@pytest.mark.parametrize("also", [(), ("--also", "onnx")])
def test_a_name_of_another_format_is_refused(
    also: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file would be read as what its name says."""
    output = str(tmp_path / "lisa.ONNX")
    monkeypatch.setattr("sys.argv", ["export", "--checkpoint", "best.pt", "--output", output, *also])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "is written as TorchScript: give .ts, and --also onnx" in capsys.readouterr().err
