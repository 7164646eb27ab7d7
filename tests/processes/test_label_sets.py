"""Another label set from its masks to the predictor's files, by the commands that a user types."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import parse, read_ids
from forked_ranks import run_ranks
from PIL import Image
from process_helpers import FLAGS

import lisa
from deploy.export import main as export
from distributed.evaluate import main as evaluate
from lisa.config import Config
from lisa.data.synthetic import write_dataset
from lisa.labels import read_label_set

LAPA = read_label_set("lapa")

pytestmark = pytest.mark.slow


def read_grey(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_lapa_faces_train_evaluate_export_and_predict_under_their_own_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(main: Callable[[], object], *arguments: object) -> None:
        """A command in this process: importing torch takes longer than all that it does here."""
        monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
        main()

    faces, trained = tmp_path / "faces", tmp_path / "run"
    write_dataset(faces, count=20, seed=0, size=64, workers=1, labels=LAPA)
    options = ["--data", faces, "--labels", "lapa", "--output", trained, "--train.epochs", "1", *FLAGS]
    done = run_ranks("distributed.train", "demo", *options, processes=0)
    assert done.returncode == 0, done.stderr
    assert Config.from_json((trained / "config.json").read_text()).labels == LAPA

    asked = ("--checkpoint", trained / "best.pt", "--data", faces, "--workers", 0)
    run(evaluate, *asked, "--output", tmp_path / "val.json")
    figures = json.loads((tmp_path / "val.json").read_text())
    assert list(figures["iou"]) == list(LAPA.names)

    model, photos = tmp_path / "lisa.ts", faces / "test" / "images"
    run(export, "--checkpoint", trained / "best.pt", "--output", model, "--images", photos)
    parts = ["left_eyebrow", "hair"]
    assert parse(model, photos, tmp_path / "maps", "--parts", ",".join(parts)) == 0
    maps = sorted((tmp_path / "maps").glob("*.png"))
    assert [path.stem for path in maps] == sorted(path.stem for path in photos.iterdir())
    parser = lisa.load(trained / "best.pt")
    for path in maps:
        ids = read_ids(path)
        assert ids.max() < len(LAPA)
        known = parser(photos / f"{path.stem}.jpg")
        assert known.names == LAPA.names
        assert (known.ids == ids).mean() > 0.999
        for part in parts:
            mask = read_grey(tmp_path / "maps" / "parts" / part / f"{path.stem}.png")
            assert np.array_equal(mask == 255, ids == LAPA.ids[part])
