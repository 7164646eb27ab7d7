"""The front door: what is loaded, what a parser takes, what it returns."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import SIZE, face, parse, read_ids, with_metadata, write_checkpoint, write_faces
from PIL import Image
from published_helpers import published_state, write_published

import lisa
from deploy.predictor.model import read_metadata
from lisa.data.folders import find_pairs
from lisa.data.pairs import decode
from lisa.errors import InputError
from lisa.evaluation.evaluate import evaluate
from lisa.labels import NAMES, NUM_CLASSES, PALETTE
from lisa.labels.celebamask import CELEBAMASK
from lisa.models import from_published
from lisa.run.checkpoint import load_network, payload, save

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("run") / "best.pt")


@pytest.fixture(scope="module")
def parser(checkpoint: Path) -> lisa.Parser:
    return lisa.load(checkpoint, "cpu")


def test_importing_lisa_imports_nothing_slow():
    command = "import lisa, sys; dir(lisa); sys.exit(sorted({'torch', 'numpy', 'PIL'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


def test_every_name_of_the_front_door_is_there():
    assert set(lisa.__all__) <= set(dir(lisa))
    assert [name for name in lisa.__all__ if getattr(lisa, name) is None] == []
    assert lisa.Config() == lisa.Config.from_dict(lisa.Config().to_dict())
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = lisa.lode


def test_a_checkpoint_gives_what_its_evaluation_counts(checkpoint: Path, tmp_path: Path):
    root = tmp_path / "faces"
    for number, size in enumerate([(48, 64), (64, 64), (90, 33)]):
        write_faces(root / f"val{number}", 1, size)[0].rename(make(root / "val/images") / f"{number}.jpg")
        ids = np.random.default_rng(number).integers(0, NUM_CLASSES, size[::-1]).astype(np.uint8)
        Image.fromarray(ids).save(make(root / "val/masks") / f"{number}.png")
    pairs = find_pairs(root, "val")
    trained = load_network(checkpoint)
    counted = evaluate(trained.network, SIZE, pairs, lisa.World()).tally.confusion
    parser = lisa.load(checkpoint, "cpu")
    found = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for pair in pairs:
        np.add.at(found, (np.asarray(decode(pair)[1]), parser(pair.image).ids), 1)
    assert found.tolist() == counted.tolist()


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_an_exported_file_gives_the_predictors_maps(model: Path, tmp_path: Path):
    paths = write_faces(tmp_path / "in", 2) + write_faces(tmp_path / "in/wide", 1, (150, 60))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    face().resize((40, 64)).save(tmp_path / "in/turned.jpg", exif=exif)
    face().convert("CMYK").save(tmp_path / "in/cmyk.jpg")
    face().convert("LA").save(tmp_path / "in/grey.png")
    assert parse(model, tmp_path / "in", tmp_path / "out") == 0
    parser = lisa.load(model, "cpu")
    assert parser.origin == ""
    assert parser.names == NAMES
    paths += [tmp_path / "in" / name for name in ("turned.jpg", "cmyk.jpg", "grey.png")]
    assert parser(tmp_path / "in/turned.jpg").ids.shape == (40, 64)
    for path in paths:
        predicted = read_ids(tmp_path / "out" / path.relative_to(tmp_path / "in").with_suffix(".png"))
        assert np.array_equal(parser(path).ids, predicted), path.name


def test_a_file_that_was_exported_before_label_sets_were(model: Path, tmp_path: Path):
    metadata = {key: value for key, value in read_metadata(model).items() if key != "label_set"}
    parser = lisa.load(with_metadata(model, tmp_path / "old.ts", metadata), "cpu")
    assert (parser.names, parser.labels.pairs) == (NAMES, CELEBAMASK.pairs)
    assert parser.labels.palette == PALETTE
    assert np.array_equal(parser(face()).ids, lisa.load(model, "cpu")(face()).ids)


def test_the_published_file(tmp_path: Path):
    path = write_published(tmp_path / "best_model.pth")
    parser = lisa.load(path, "cpu")
    assert "label order and figures are the author's" in parser.origin
    pixels = np.asarray(face(512))
    expected = from_published(published_state()).eval()
    trained = load_network(path)
    assert trained.config.data.size == 512
    assert trained.metrics == {}
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        logits = expected(trained.parser().normalise(images))
    assert np.array_equal(parser(pixels).ids, logits.argmax(1)[0].numpy())


def test_a_published_file_that_does_not_fit(tmp_path: Path):
    path = tmp_path / "best_model.pth"
    state = published_state()
    torch.save({**state, "final.weight": torch.zeros(11, 32, 1, 1), "final.bias": torch.zeros(11)}, path)
    with pytest.raises(InputError, match=r"best_model\.pth: a network of 11 labels, not 19"):
        lisa.load(path)
    del state["final.bias"]
    torch.save({f"module.{key}": value for key, value in state.items()}, path)
    with pytest.raises(InputError, match=r"best_model\.pth: not the published .*\n.*missing: final\.bias"):
        lisa.load(path)


def test_all_kinds_of_pictures_give_the_same(parser: lisa.Parser, tmp_path: Path):
    picture = face().resize((48, 60))
    picture.save(tmp_path / "face.png")
    pixels = np.asarray(picture)
    expected = parser(tmp_path / "face.png")
    assert expected.ids.shape == (60, 48)
    assert expected.ids.dtype == np.uint8
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    for kind in (str(tmp_path / "face.png"), picture, pixels, tensor, bgr[..., ::-1]):
        found = parser(kind)
        assert np.array_equal(found.ids, expected.ids)
        assert np.array_equal(found.picture, pixels)


def test_pillow_pictures_are_decoded_as_files_are(parser: lisa.Parser, tmp_path: Path):
    picture = face().resize((48, 60))
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    picture.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        assert parser(turned).ids.shape == (48, 60)
        assert np.array_equal(parser(turned).ids, parser(tmp_path / "turned.png").ids)
    grey = picture.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert np.array_equal(parser(deep).ids, parser(grey).ids)
    seen_through = picture.copy()
    seen_through.putalpha(Image.new("L", picture.size, 7))
    assert np.array_equal(parser(seen_through).picture, np.asarray(picture))


def test_a_label_map_keeps_its_own_picture(parser: lisa.Parser):
    frame = np.array(face())
    found = parser(frame)
    before = np.asarray(found.overlay())
    frame[:] = 0
    assert np.array_equal(np.asarray(found.overlay()), before)


def test_a_label_map():
    ids = np.array([[0, 13, 13], [14, 1, 0]], np.uint8)
    palette = np.array(PALETTE, np.uint8).reshape(-1, 3)
    found = lisa.LabelMap(ids, np.full((2, 3, 3), 100, np.uint8), CELEBAMASK)
    assert found.mask("hair", "hat").tolist() == [[False, True, True], [True, False, False]]
    assert found.areas["hair"] == 2 / 6
    assert found.areas["nose"] == 0
    assert sum(found.areas.values()) == pytest.approx(1)
    assert list(found.areas) == list(NAMES)
    shown = np.asarray(found.overlay(1.0))
    assert shown[0].tolist() == [[100, 100, 100], list(palette[13]), list(palette[13])]
    with pytest.raises(InputError, match="no label 'beard'; the labels are background, skin"):
        found.mask("hair", "beard")
    with pytest.raises(InputError, match="at least one"):
        found.mask()
    with pytest.raises(InputError, match=r"alpha 1\.5: from 0 to 1"):
        found.overlay(1.5)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"array of shape \(8, 8\), uint8: give \(H,W,3\) RGB in uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"array of shape \(3, 8, 8\)"),
        (np.zeros((8, 8, 3), np.float32), "float32: give"),
        (np.zeros((0, 8, 3), np.uint8), r"array of shape \(0, 8, 3\)"),
        (
            torch.zeros(8, 8, 3, dtype=torch.uint8),
            r"tensor of shape \(8, 8, 3\), torch.uint8: give \(3,H,W\)",
        ),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), r"tensor of shape \(1, 3, 8, 8\)"),
        (torch.zeros(3, 8, 8), r"torch.float32: give"),
        (Image.fromarray(np.full((8, 8), np.nan, np.float32)), "picture: none of its samples is a number"),
        (Image.new("RGB", (0, 8)), "picture: no pixels"),
        ("nowhere.jpg", r"nowhere\.jpg: No such file"),
        (7, "int: give a path"),
    ],
)
def test_what_is_no_picture_is_one_line(parser: lisa.Parser, picture: object, message: str):
    with pytest.raises(InputError, match=message) as caught:
        parser(picture)  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)


def test_damaged_files_are_one_line(parser: lisa.Parser, tmp_path: Path):
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(InputError, match=r"text\.jpg: no picture format"):
        parser(tmp_path / "text.jpg")
    (whole,) = write_faces(tmp_path, 1)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:600])
    with pytest.raises(InputError, match=r"cut\.jpg: .*[Tt]runcated"):
        parser(tmp_path / "cut.jpg")


def test_a_mode_that_is_none_is_named_whatever_was_loaded(parser: lisa.Parser):
    with pytest.raises(InputError, match=r"faces 'bogus': one of frame, find, auto, or boxes and points"):
        parser(face(), faces="bogus")  # pyright: ignore[reportArgumentType]


def test_what_never_ends_is_one_line(parser: lisa.Parser, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(InputError, match=rf"{path.name}: no file but a pipe, a socket or a device"):
            parser(path)


def test_files_that_cannot_be_loaded(tmp_path: Path, model: Path, checkpoint: Path):
    with pytest.raises(InputError, match=r"none\.pt: No such file"):
        lisa.load(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("text")
    with pytest.raises(InputError, match=r"text\.pt: damaged or no LISA checkpoint"):
        lisa.load(tmp_path / "text.pt")
    (tmp_path / "cut.ts").write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cut\.ts: damaged"):
        lisa.load(tmp_path / "cut.ts")
    with pytest.raises(InputError, match="device 'warp' can't be used"):
        lisa.load(checkpoint, "warp")
    with pytest.raises(InputError, match="device 'meta' can't be used"):
        lisa.load(model, "meta")


def test_a_gpu_that_computes_nothing_is_one_line_where_no_device_is_named(monkeypatch: pytest.MonkeyPatch):
    """Too old for the wheel, or held by another process."""

    def busy(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nmore")

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.ones", busy)
    with pytest.raises(InputError, match=r"device 'cuda' can't be used .*busy.*device=\"cpu\"") as told:
        lisa.load()
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"device 'cuda' can't be used .*busy.*World\(\), the CPU"):
        lisa.fit(lisa.Config())


def test_exported_files_of_other_kinds_are_named(tmp_path: Path, model: Path):
    (tmp_path / "lisa.onnx").write_bytes(b"\x08\x0a")
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2),))
    with (tmp_path / "lisa.pt2").open("wb") as stream:
        torch.export.save(program, stream, extra_files={"lisa.json": "{}"})
    (tmp_path / "lisa.v1").write_bytes(model.read_bytes())
    for name, kind in (("lisa.onnx", "ONNX"), ("lisa.pt2", r"\.pt2")):
        with pytest.raises(InputError, match=rf"{name}: is exported as {kind}: give the \.ts file"):
            lisa.load(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: is an exported file \({kind}\), no checkpoint"):
            load_network(tmp_path / name)
    with pytest.raises(InputError, match=r"lisa\.v1: is an exported file \(TorchScript\), no checkpoint"):
        load_network(tmp_path / "lisa.v1")


def test_a_newer_checkpoint_is_refused(tmp_path: Path):
    content = payload(
        load_network(write_checkpoint(tmp_path / "best.pt")).network.state_dict(), lisa.Config(), {}
    )
    save({**content, "format": 99}, tmp_path / "new.pt")
    with pytest.raises(InputError, match="checkpoint format 99"):
        lisa.load(tmp_path / "new.pt")
