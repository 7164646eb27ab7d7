"""Fixtures that several test files share: small folders of faces, trained checkpoints."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from face_helpers import save_mask
from hypothesis import settings
from PIL import Image

from lisa.data.parallel import available_cores
from lisa.labels import IDS, PALETTE

MINI = Path(__file__).parents[2] / "shared" / "celebamask_mini"


TOP_TO_BOTTOM = (
    "hat", "hair", "background", "l_brow", "r_brow", "eye_g", "l_eye", "r_eye", "l_ear", "r_ear", "ear_r",
    "nose", "u_lip", "mouth", "l_lip", "neck", "neck_l", "cloth",
)  # fmt: skip
"""The parts of a face but its skin: masks in which they lie in another order are refused."""

MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS

MOST_WORKERS = 8
"""Each imports torch and more: a gigabyte."""

# Asked once, before any test hides them: CUDA reads CUDA_VISIBLE_DEVICES at its first call in a process.
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0
VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES")


# The same examples every time; no clock decides over a test.
settings.register_profile("lisa", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("lisa")


def pytest_configure() -> None:
    # Processes started in the background or by nohup ignore Ctrl-C or HUP, and so do their children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # Images for containers often set this: each of our hundreds of processes would compile torch again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One per core, as -n auto; none for a single file, where starting them takes longer than they save."""
    words = config.args
    if len(words) == 1 and ("::" in words[0] or Path(words[0]).is_file()):
        return 0
    return min(available_cores(), MOST_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked ``gpu``, before any fixture of theirs is made, where there are too few."""
    for item in items:
        for marker in item.iter_markers("gpu"):
            needed = marker.args[0] if marker.args else 1
            if needed > GPUS:
                item.add_marker(pytest.mark.skip(reason=f"needs {needed} GPU(s)"))


@pytest.fixture(scope="session", autouse=True)
def session_without_gpus() -> None:
    """What other fixtures of a whole session start sees no GPU. No hook: xdist's workers would inherit it."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(autouse=True)
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked ``gpu`` see the GPUs; to all others, and their processes, there are none."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    elif VISIBLE is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", VISIBLE)


@pytest.fixture
def mini() -> Path:
    """The real pictures, where they are."""
    if not MINI.is_dir():
        pytest.skip("celebamask_mini is not here")
    return MINI


@pytest.fixture
def make_faces(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of random blocky pictures, half skin and other parts from top to bottom."""

    def make(train: int = 4, val: int = 2, size: tuple[int, int] = (40, 40), name: str = "faces") -> Path:
        root = tmp_path / name
        generator = np.random.default_rng(0)
        for split, count in (("train", train), ("val", val), ("test", val)):
            images, masks = root / split / "images", root / split / "masks"
            images.mkdir(parents=True)
            masks.mkdir()
            for number in range(count):
                others = np.flatnonzero(generator.random(25) < 0.5)[: len(TOP_TO_BOTTOM)]
                chosen = sorted(generator.permutation(len(TOP_TO_BOTTOM))[: len(others)])
                cells = np.ones(25, int)
                cells[others] = [IDS[TOP_TO_BOTTOM[index]] for index in chosen]
                cells = cells.reshape(5, 5)
                ids = np.kron(cells, np.ones((8, 8), int))[: size[0], : size[1]]
                colors = np.array(PALETTE).reshape(-1, 3)[ids]
                Image.fromarray(colors.astype(np.uint8)).save(images / f"{number}.png")
                save_mask(ids, masks / f"{number}.png")
        return root

    return make


@pytest.fixture(autouse=True)
def limited_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictor lifts Pillow's limit for its own process: after it, damaged headers would count here."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MAX_IMAGE_PIXELS)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test starts from the same random numbers, on one thread: two beside a busy process crawl."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model of random weights, narrow: tests of the predictor need no more of a network."""
    from deploy_helpers import write_checkpoint  # timm takes seconds: other tests need not wait for it

    from deploy.export import export

    folder = tmp_path_factory.mktemp("model")
    checkpoint = write_checkpoint(folder / "best.pt", widths=(8, 8, 12, 16, 24), depths=(1, 1, 1, 1, 1))
    export(checkpoint, folder / "lisa.ts", finder="none")
    return folder / "lisa.ts"
