"""Options: what is written of a label map, and how a picture reaches the network."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import SIZE, face, files, parse, read_ids, with_metadata, write_faces
from encoding_helpers import encoding
from PIL import Image

from deploy.predictor.errors import CannotStartError
from deploy.predictor.model import ExportedModel, read_metadata
from deploy.predictor.outputs import FACE_PARSING, OWN, inner_ids
from deploy.predictor.pictures import from_frame, middle, read_picture, to_frame
from deploy.predictor.unions import read_cutout, read_parts
from lisa.labels import IDS, PALETTE, read_label_set
from lisa.labels.celebamask import CELEBAMASK


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    write_faces(tmp_path / "in", 2)
    return tmp_path / "in"


def test_color_shows_the_palette(model: Path, faces: Path, tmp_path: Path) -> None:
    assert parse(model, faces, tmp_path / "out", "--color") == 0
    colors = np.array(PALETTE).reshape(-1, 3)[read_ids(tmp_path / "out" / "face0.png")]
    with Image.open(tmp_path / "out" / "color" / "face0.png") as image:
        assert np.array_equal(np.asarray(image), colors)


def test_parts_are_binary_masks(model: Path, faces: Path, tmp_path: Path) -> None:
    assert parse(model, faces, tmp_path / "out", "--parts", "hair,skin") == 0
    ids = read_ids(tmp_path / "out" / "face1.png")
    for part in ("hair", "skin"):
        with Image.open(tmp_path / "out" / "parts" / part / "face1.png") as image:
            assert np.array_equal(np.asarray(image), np.where(ids == IDS[part], 255, 0))


def test_blanks_around_labels_do_not_count(model: Path) -> None:
    metadata = read_metadata(model)
    plain = read_parts("hair,hat,face=skin+nose", metadata)
    assert read_parts("hair, hat, face = skin + nose ", metadata) == plain
    assert read_cutout(" hair, hat", metadata) == read_cutout("hair,hat", metadata)


def test_unknown_part_is_refused(
    model: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(model, faces, tmp_path / "out", "--parts", "beard") == 2
    assert "--parts beard: one of background, skin" in capsys.readouterr().err
    assert parse(model, faces, tmp_path / "out", "--parts", "face=skin+nose,face=hair") == 2
    assert "--parts: face comes twice" in capsys.readouterr().err
    assert parse(model, faces, tmp_path / "out", "--parts", "hair,Hair=hair+skin") == 2
    assert "--parts: hair and Hair are one folder where" in capsys.readouterr().err
    for option in ("--parts", "--cutout"):
        assert parse(model, faces, tmp_path / "out", option, " , ") == 2
        assert f"{option} ' , ': names nothing" in capsys.readouterr().err


def test_labels_that_differ_in_case_are_parts_under_two_names() -> None:
    metadata = {"labels": ["rest", "Hair", "hair"]}
    with pytest.raises(CannotStartError, match=r"Hair and hair are one folder .*, as hair2=hair"):
        read_parts("Hair,hair", metadata)
    assert read_parts("Hair,hair2=hair", metadata) == {"Hair": [1], "hair2": [2]}


def test_a_refused_group_is_not_named_as_one_to_take() -> None:
    lapa = read_label_set("lapa")
    metadata = {"labels": list(lapa.names), "label_set": lapa.to_dict()}
    with pytest.raises(CannotStartError, match=r"--parts ears: one of .*, hair, eyes, brows, lips, or"):
        read_parts("ears", metadata)  # LaPa's ears are background


def test_the_inner_face_is_known_in_every_label_set() -> None:
    """Its edges are those of a face's box: a label that reaches down the neck would move them."""
    face = {"name": "face", "color": [255, 0, 0], "roles": ["skin", "nose", "left_eye", "right_eye", "mouth"]}
    plain = [
        {"name": name, "color": [0, 0, at], "roles": []} for at, name in enumerate(("back", "eyes", "arm"))
    ]
    expected = {
        "celebamask": [
            "skin",
            "nose",
            "eye_g",
            "l_eye",
            "r_eye",
            "l_brow",
            "r_brow",
            "mouth",
            "u_lip",
            "l_lip",
        ],
        "lapa": [
            *("skin", "left_eyebrow", "right_eyebrow", "left_eye", "right_eye", "nose", "upper_lip"),
            *("inner_mouth", "lower_lip"),
        ],
        "coarse": ["facial_parts"],
    }
    for name, parts in expected.items():
        labels = read_label_set(name)
        metadata = {"labels": list(labels.names), "label_set": labels.to_dict()}
        assert [labels.names[index] for index in inner_ids(metadata)] == parts
    assert inner_ids({"labels": ["back", "face"], "label_set": {"labels": [plain[0], face]}}) == [1]
    assert inner_ids({"labels": ["back", "eyes", "arm"], "label_set": {"labels": plain}}) == [1]
    assert inner_ids({"labels": ["background", "skin", "hair"]}) == [1]  # a file from before labels had roles


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--batch-size", "0", "argument --batch-size: '0' is no whole number above 0, nor auto"),
        ("--max-pixels", "-1", "argument --max-pixels: '-1' is no whole number above 0"),
        ("--steady", "2", "argument --steady: '2' is not from 0 to below 1"),
        ("--steady", "much", "argument --steady: 'much' is not from 0 to below 1"),
    ],
)
def test_numbers_out_of_range_are_refused(
    model: Path,
    faces: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    value: str,
    message: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(model, faces, tmp_path / "out", f"{option}={value}")
    assert message in capsys.readouterr().err


def test_labels_of_one_side_are_not_averaged_with_the_mirrored_picture(
    model: Path, faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_metadata(model, tmp_path / "one.ts", {**read_metadata(model), "one_sided": ["l_eye"]})
    assert parse(path, faces, tmp_path / "out", "--tta", "flip") == 2
    assert "--tta flip: l_eye: the model has no label for the other side" in capsys.readouterr().err
    assert parse(path, faces, tmp_path / "out") == 0


def test_other_order_changes_ids_and_keeps_colours(model: Path, faces: Path, tmp_path: Path) -> None:
    assert parse(model, faces, tmp_path / "ours") == 0
    assert parse(model, faces, tmp_path / "theirs", "--labels", FACE_PARSING) == 0
    assert parse(model, faces, tmp_path / "old", "--labels", "zllrunning") == 0
    assert (tmp_path / "old/face0.png").read_bytes() == (tmp_path / "theirs/face0.png").read_bytes()
    told = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("old", "ours")]
    assert [report["settings"]["labels"] for report in told] == [FACE_PARSING, OWN]
    ours, theirs = (tmp_path / name / "face0.png" for name in ("ours", "theirs"))
    assert np.array_equal(encoding(FACE_PARSING).table()[read_ids(theirs)], read_ids(ours))
    with Image.open(ours) as left, Image.open(theirs) as right:
        assert np.array_equal(np.asarray(left.convert("RGB")), np.asarray(right.convert("RGB")))


def test_channels_of_probabilities_are_in_the_order_of_the_ids(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1, (SIZE, SIZE))
    found: dict[str, np.ndarray] = {}
    for order in ("celebamask", FACE_PARSING):
        output = tmp_path / order
        assert parse(model, tmp_path / "in", output, "--labels", order, "--probabilities") == 0
        found[order] = np.load(output / "probabilities" / "face0.npz")["probabilities"]
    theirs_to_ours = encoding(FACE_PARSING).table()[:19]
    assert np.array_equal(found[FACE_PARSING], found["celebamask"][theirs_to_ours])
    assert not np.array_equal(found[FACE_PARSING], found["celebamask"])


def test_padding_counts_against_the_largest_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "in", 1, (100, 20))
    assert parse(model, tmp_path / "in", tmp_path / "out", "--fit", "pad", "--max-pixels", "5000") == 1
    assert "padded to 100x100, more than --max-pixels 5000" in capsys.readouterr().out
    assert parse(model, tmp_path / "in", tmp_path / "out", "--max-pixels", "5000") == 0


def test_probabilities_sum_to_one_and_lead_to_the_labels(model: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 1, (SIZE, SIZE))
    assert parse(model, tmp_path / "in", tmp_path / "out", "--probabilities") == 0
    values = np.load(tmp_path / "out" / "probabilities" / "face0.npz")["probabilities"]
    assert values.dtype == np.float16
    assert values.shape == (19, SIZE, SIZE)
    assert np.abs(values.astype(float).sum(0) - 1).max() < 0.01
    ids = read_ids(tmp_path / "out" / "face0.png")
    chosen = np.take_along_axis(values, ids[None].astype(int), 0)[0]
    assert (chosen >= values.max(0) - 1e-3).all()


def test_flip_averages_with_the_mirrored_picture(model: Path) -> None:
    cpu = torch.device("cpu")
    picture = np.array(face())[None]
    both = ExportedModel(model, cpu, "fp32", flip=True)
    labels = both(picture).labels
    mirrored = both(np.ascontiguousarray(picture[:, :, ::-1])).labels
    unflipped = CELEBAMASK.flip_table()[mirrored[:, :, ::-1]]
    assert (unflipped == labels).mean() > 0.999  # no side is preferred
    once = ExportedModel(model, cpu, "fp32")(picture).labels
    assert (once != labels).any()


@pytest.mark.parametrize("shape", [(40, 90), (91, 40), (50, 50), (1, 9)])
def test_frames_keep_every_pixel_in_its_place(shape: tuple[int, int]) -> None:
    ids = np.arange(shape[0] * shape[1]).reshape(shape).astype(np.uint8)
    picture = np.dstack([ids] * 3)
    assert to_frame(picture, "stretch") is picture
    padded = to_frame(picture, "pad")
    assert padded.shape[0] == padded.shape[1] == max(shape)
    assert np.array_equal(from_frame(padded[:, :, 0], picture.shape, "pad"), ids)
    cropped = to_frame(picture, "crop")
    assert cropped.shape[0] == cropped.shape[1] == min(shape)
    restored = from_frame(cropped[:, :, 0], picture.shape, "crop")
    assert restored.shape == shape
    assert np.array_equal(restored[restored > 0], cropped[:, :, 0][cropped[:, :, 0] > 0])
    inside = middle(shape, min(shape))
    assert np.array_equal(restored[inside], ids[inside])


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_fit_reaches_the_network(model: Path, tmp_path: Path, fit: str) -> None:
    write_faces(tmp_path / "in", 1, (96, 48))
    assert parse(model, tmp_path / "in", tmp_path / "out", "--fit", fit) == 0
    picture = read_picture(tmp_path / "in" / "face0.jpg")
    labels = ExportedModel(model, torch.device("cpu"), "fp32")(to_frame(picture, fit)[None]).labels
    expected = from_frame(labels[0], picture.shape, fit)
    assert (read_ids(tmp_path / "out" / "face0.png") == expected).mean() > 0.9995


def test_batches_of_mixed_sizes_give_what_single_pictures_give(model: Path, tmp_path: Path) -> None:
    for index, size in enumerate([(48, 64), (64, 48), (48, 64)]):
        face().resize(size).rotate(40 * index).save(_made(tmp_path / "in") / f"{index}.png")
    assert parse(model, tmp_path / "in", tmp_path / "one", "--workers", "1") == 0
    assert parse(model, tmp_path / "in", tmp_path / "three", "--workers", "1", "--batch-size", "3") == 0
    for index in range(3):
        one, three = (read_ids(tmp_path / name / f"{index}.png") for name in ("one", "three"))
        assert (one == three).mean() > 0.999


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_a_picture_too_wide_for_a_jpeg_is_told(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name, width in (("fits", 65_500), ("wide", 65_501)):
        Image.new("RGB", (width, 2)).save(tmp_path / "in" / f"{name}.png")
    assert parse(model, tmp_path / "in", tmp_path / "out", "--overlay", "--faces", "frame") == 1
    assert "wide.png: not written: a JPEG overlay has at most 65500" in capsys.readouterr().out
    assert files(tmp_path / "out") == ["fits.png", "overlay/fits.jpg"]
    assert parse(model, tmp_path / "in", tmp_path / "out", "--faces", "frame") == 0
