"""Fixtures that several test files share: small folders of faces, trained checkpoints."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from deploy_helpers import write_checkpoint
from face_helpers import save_mask
from PIL import Image

from deploy.export import export
from lisa.labels import PALETTE

MINI = Path(__file__).parents[2] / "shared" / "celebamask_mini"


def pytest_configure() -> None:
    """A shell's background jobs are born ignoring Ctrl-C, and so is every process that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mini() -> Path:
    """The real pictures, where they are."""
    if not MINI.is_dir():
        pytest.skip("celebamask_mini is not here")
    return MINI


@pytest.fixture
def make_faces(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of random blocky pictures, half of them skin, in the first layout."""

    def make(train: int = 4, val: int = 2, size: tuple[int, int] = (40, 40), name: str = "faces") -> Path:
        root = tmp_path / name
        generator = np.random.default_rng(0)
        for split, count in (("train", train), ("val", val), ("test", val)):
            images, masks = root / split / "images", root / split / "masks"
            images.mkdir(parents=True)
            masks.mkdir()
            for number in range(count):
                cells = np.where(generator.random((5, 5)) < 0.5, 1, generator.integers(0, 19, (5, 5)))
                ids = np.kron(cells, np.ones((8, 8), int))[: size[0], : size[1]]
                colors = np.array(PALETTE).reshape(-1, 3)[ids]
                Image.fromarray(colors.astype(np.uint8)).save(images / f"{number}.png")
                save_mask(ids, masks / f"{number}.png")
        return root

    return make


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test starts from the same random numbers, on one thread: two beside a busy process crawl."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of random weights."""
    folder = tmp_path_factory.mktemp("model")
    export(write_checkpoint(folder / "best.pt"), folder / "lisa.ts")
    return folder / "lisa.ts"
