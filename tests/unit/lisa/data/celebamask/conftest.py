"""A release to convert, its conversion, and three faces of it that a test may break."""

import shutil
from pathlib import Path

import pytest
from celebamask_helpers import FACES

from benchmarks.data.raw_celebamask import MAPPING, PARTS, PICTURES, write_raw
from lisa.data.celebamask.convert import convert


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("raw") / "CelebAMask-HQ"
    write_raw(source, FACES, drawn=128)
    return source


@pytest.fixture(scope="session")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    convert(raw, output, workers=2)
    return output


@pytest.fixture
def small(raw: Path, tmp_path: Path) -> Path:
    """Three faces that a test may break."""
    source = tmp_path / "raw"
    for index in range(3):
        for path in [raw / PICTURES / f"{index}.jpg", *(raw / PARTS / "0").glob(f"{index:05d}_*.png")]:
            copy = source / path.relative_to(raw)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    shutil.copy(raw / MAPPING, source / MAPPING)
    return source
