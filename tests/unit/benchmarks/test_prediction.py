from pathlib import Path

import numpy as np
import pytest
from deploy_helpers import SIZE, write_checkpoint, write_faces
from PIL import Image

from benchmarks.prediction import stress
from benchmarks.prediction.__main__ import Settings, compare, equal_labels, miou
from benchmarks.prediction.stress import val_pairs
from lisa.data.pairs import decode
from lisa.labels.celebamask import CELEBAMASK


@pytest.mark.slow
def test_comparison_with_the_plain_predictor(tmp_path: Path) -> None:
    write_faces(tmp_path / "in", 2, (SIZE, SIZE))
    shallow = (1, 1, 1, 1, 1)  # a compiler takes a minute for more
    checkpoint = write_checkpoint(tmp_path / "best.pt", widths=(4, 6, 8, 10, 12), depths=shallow)
    table = compare(Settings(checkpoint, tmp_path / "in", rounds=1), tmp_path)
    assert [column.header for column in table.columns][:3] == ["variant", "pictures/s", "ratio"]
    names = list(table.columns[0].cells)
    assert {"plain", "fp32", "ONNX Runtime fp32", "OpenVINO fp32"} <= set(names)
    for name in ("fp32", "ONNX Runtime fp32", "OpenVINO fp32"):
        assert equal_labels(tmp_path / "plain", tmp_path / name) > 0.9995
    assert all(str(cell) == "hidden" or float(str(cell)) > 100 for cell in table.columns[5].cells)
    assert equal_labels(tmp_path / "plain", tmp_path / "plain") == 1
    assert miou(tmp_path / "plain", tmp_path / "plain") == 100


def test_stress_repairs_the_faces_that_a_list_names(tmp_path: Path) -> None:
    for index in range(2):
        for folder, value in (("images", 0), ("masks", CELEBAMASK.by_role["left_eye"])):
            path = tmp_path / f"val/{folder}/{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB" if folder == "images" else "L", (8, 8), value).save(path)
    listed = tmp_path / "repair.txt"
    listed.write_text("val/masks/1.png")
    ids: list[list[int]] = []
    for repair in ("", str(listed)):
        pairs = val_pairs(stress.Settings(Path(), tmp_path, repair=repair))
        ids.append([int(np.asarray(decode(pair)[1])[0, 0]) for pair in pairs])
    left, right = CELEBAMASK.by_role["left_eye"], CELEBAMASK.by_role["right_eye"]
    assert ids == [[left, left], [left, right]]
