from pathlib import Path

import pytest
from deploy_helpers import SIZE, write_checkpoint, write_faces

from benchmarks.prediction.__main__ import Settings, compare, equal_labels, miou


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
